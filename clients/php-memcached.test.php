<?php
// php-memcached: the text protocol, and the binary one where the second argument says so.

function check(bool $holds, string $what = "an answer"): void {
    global $client;
    if ($holds) return;
    $line = debug_backtrace()[0]["line"];
    fwrite(STDERR, "line $line: $what is not as expected; " . $client->getResultMessage() . "\n");
    exit(1);
}

[$host, $port] = explode(":", $argv[1]);
$binary = ($argv[2] ?? "") === "binary";
$client = new Memcached();
$client->setOption(Memcached::OPT_BINARY_PROTOCOL, $binary);
$client->setOption(Memcached::OPT_COMPRESSION, false);
$client->addServer($host, (int) $port);

// The client tells by the flags of an item what PHP value it was.
$values = ["text" => "größer", "int" => 42, "float" => 1.5, "bool" => true,
           "array" => ["x" => [1, null]], "empty" => ""];
foreach ($values as $key => $value) {
    check($client->set($key, $value, 3600), "set $key");
    check($client->get($key) === $value, $key);
}
check($client->get("missing") === false && $client->getResultCode() === Memcached::RES_NOTFOUND);
check($client->setMulti(["m1" => "1", "m2" => 2]));
check($client->getMulti(["m1", "m2", "missing"]) === ["m1" => "1", "m2" => 2]);
$client->setOption(Memcached::OPT_USER_FLAGS, -1);

check($client->add("text", "x") === false && $client->add("new", "b") === true);
check($client->replace("missing", "x") === false && $client->replace("new", "b") === true);
check($client->append("new", "c") && $client->prepend("new", "a") && $client->get("new") === "abc");

$got = $client->get("new", null, Memcached::GET_EXTENDED);
check($client->cas($got["cas"], "new", "second") === true, "cas");
check($client->cas($got["cas"], "new", "third") === false, "an old cas");
check($client->getResultCode() === Memcached::RES_DATA_EXISTS, "an old cas's result");

check($client->set("n", 10) && $client->increment("n", 5) === 15 && $client->decrement("n", 20) === 0);
check($client->increment("nothing", 1) === false, "increment of nothing");
if ($binary) {
    check($client->increment("initial", 5, 10, 3600) === 10, "an initial value");
    check($client->increment("initial", 5, 10, 3600) === 15, "increment after it");
}

check($client->touch("new", 100) === true && $client->touch("missing", 100) === false, "touch");
check($client->set("short", "x", 1));
$deadline = microtime(true) + 10;
while ($client->get("short") !== false) {
    check(microtime(true) < $deadline, "an item of one second");
    usleep(100000);
}

check($client->delete("new") === true && $client->delete("new") === false, "delete");
$large = str_repeat("x", 1000000);
check($client->set("large", $large) && $client->get("large") === $large, "a large value");
check($client->set("bytes", "\0\r\n\xff") && $client->get("bytes") === "\0\r\n\xff", "raw bytes");

check(preg_match('/^1\.\d+\.\d+$/', current($client->getVersion())) === 1, "version");
check(current($client->getStats())["curr_items"] >= 1, "stats");
check($client->flush() && $client->get("text") === false, "flush");
