// npm memjs: the binary protocol.
"use strict";
const assert = require("node:assert");
const memjs = require("memjs");

const client = memjs.Client.create(process.argv[2], { timeout: 5, retries: 0 });

async function main() {
  const flags = Buffer.from([0, 0, 0, 7]);
  assert.strictEqual(await client.set("a", "größer", { expires: 0 }), true);
  assert.strictEqual((await client.get("a")).value.toString(), "größer");
  assert.strictEqual((await client.get("a")).flags.length, flags.length);
  assert.strictEqual((await client.get("missing")).value, null);

  assert.strictEqual(await client.add("new", "b", { expires: 0 }), true);
  assert.strictEqual(await client.add("new", "x", { expires: 0 }), false);
  assert.strictEqual(await client.replace("new", "b", { expires: 0 }), true);
  assert.strictEqual(await client.replace("missing", "x", { expires: 0 }), false);
  assert.strictEqual(await client.append("new", "c"), true);
  assert.strictEqual((await client.get("new")).value.toString(), "bc");

  assert.strictEqual((await client.increment("n", 5, { initial: 10, expires: 0 })).value, 10);
  assert.strictEqual((await client.increment("n", 5, { expires: 0 })).value, 15);
  assert.strictEqual((await client.decrement("n", 20, { expires: 0 })).value, 0);

  await client.set("short", "x", { expires: 1 });
  assert.strictEqual(await client.touch("new", 100), true);
  const deadline = Date.now() + 10000;
  while ((await client.get("short")).value !== null) {
    assert(Date.now() < deadline, "an item of one second is still there");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }

  assert.strictEqual(await client.delete("new"), true);
  assert.strictEqual(await client.delete("new"), false);
  const large = Buffer.alloc(1000000, "x");
  await client.set("large", large, {});
  assert((await client.get("large")).value.equals(large));
  await client.flush();
  assert.strictEqual((await client.get("a")).value, null);
  client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
