// npm memcached: the text protocol.
"use strict";
const assert = require("node:assert");
const Memcached = require("memcached");

const client = new Memcached(process.argv[2], { retries: 0, timeout: 5000 });
const call = (name, ...args) =>
  new Promise((resolve, reject) =>
    client[name](...args, (error, answer) => (error ? reject(error) : resolve(answer))));
const refused = (name, ...args) => call(name, ...args).then(
  (answer) => assert.strictEqual(answer, false), () => {});

async function main() {
  for (const value of ["text", 7, { a: [1, null] }, true, "größer", Buffer.from([0, 13, 10])]) {
    assert.strictEqual(await call("set", "a", value, 0), true);
    assert.deepStrictEqual(await call("get", "a"), value);
  }
  assert.strictEqual(await call("get", "missing"), undefined);

  await call("set", "m1", "1", 0);
  await call("set", "m2", "2", 0);
  const several = await call("getMulti", ["m1", "m2", "missing"]);
  assert.deepStrictEqual({ ...several }, { m1: "1", m2: "2" });

  await call("add", "new", "b", 0);
  await refused("add", "new", "x", 0);
  await call("replace", "new", "b", 0);
  await refused("replace", "missing", "x", 0);
  await call("append", "new", "c");
  await call("prepend", "new", "a");
  assert.strictEqual(await call("get", "new"), "abc");

  const { cas } = await call("gets", "new");
  assert.strictEqual(await call("cas", "new", "mine", cas, 0), true);
  await refused("cas", "new", "again", cas, 0);

  await call("set", "n", 10, 0);
  assert.strictEqual(await call("incr", "n", 5), 15);
  assert.strictEqual(await call("decr", "n", 20), 0);
  assert.strictEqual(await call("incr", "missing", 1), false);

  await call("set", "short", "x", 1);
  assert.strictEqual(await call("touch", "new", 100), true);
  const deadline = Date.now() + 10000;
  while ((await call("get", "short")) !== undefined) {
    assert(Date.now() < deadline, "an item of one second is still there");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }

  assert.strictEqual(await call("del", "new"), true);
  assert.strictEqual(await call("del", "new"), false);
  const [version] = await call("version");
  assert.match(version.version, /^1\./);
  const [stats] = await call("stats");
  assert(stats.curr_items >= 1);
  await call("flush");
  assert.strictEqual(await call("get", "a"), undefined);
  client.end();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
