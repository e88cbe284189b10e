# Ruby dalli: the binary protocol.
require "dalli"

def check(holds, what = "an answer")
  abort "#{caller(1, 1).first}: #{what} is not as expected" unless holds
end

client = Dalli::Client.new(ARGV[0], value_max_bytes: 2_000_000)

# The client tells by the flags of an item whether it was a text or an object.
check client.set("a", "größer", 3600) && client.get("a").force_encoding("UTF-8") == "größer"
check client.set("b", { "x" => [1, nil] }) && client.get("b") == { "x" => [1, nil] }
check client.set("raw", 42, 0, raw: true) && client.get("raw", raw: true) == "42"
check client.get("missing").nil?
client.multi { 100.times { |number| client.set("quiet#{number}", number) } }
keys = (0...100).map { |number| "quiet#{number}" }
check client.get_multi(*keys, "missing") == keys.each_with_index.to_h, "many"
check client.fetch("fetched") { "made" } == "made" && client.get("fetched") == "made"

check !client.add("a", "x") && client.add("new", "b", 0, raw: true)
client.replace("missing", "x") # answers 0 for the cas unique that it did not get
check client.get("missing").nil? && client.replace("new", "b", 0, raw: true)
check client.append("new", "c") && client.prepend("new", "a") && client.get("new") == "abc"

check client.cas("a") { |value| "#{value}!" }, "cas"
value, unique = client.get_cas("a")
check client.set_cas("a", "second", unique) && !client.set_cas("a", "third", unique), "set_cas"
check client.cas("missing") { "x" }.nil?, "cas of nothing"

check client.incr("n", 5, 3600, 10) == 10 && client.incr("n", 5) == 15
check client.decr("n", 20).zero? && client.incr("nothing", 1).nil?

check client.touch("a", 100) && !client.touch("missing", 100), "touch"
check client.gat("a", 100) == "second", "get and touch"
client.set("short", "x", 1)
deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + 10
while client.get("short")
  check Process.clock_gettime(Process::CLOCK_MONOTONIC) < deadline, "an item of one second"
  sleep 0.1
end

check client.delete("a") && !client.delete("a"), "delete"
large = "x" * 1_000_000
check client.set("large", large) && client.get("large") == large, "a large value"
check client.version.values.first.match?(/\A1\.\d+\.\d+\z/), "version"
check client.stats.values.first["curr_items"].to_i >= 100, "stats"
check client.stats(:settings).values.first["maxbytes"].to_i.positive?, "stats settings"
check client.flush.all? && client.get("b").nil?, "flush"
