# Perl Cache::Memcached::Fast: the text protocol.
use strict;
use warnings;
use utf8;
use Cache::Memcached::Fast;
use Time::HiRes qw(sleep time);

sub check {
    my ($holds, $what) = @_;
    die "line " . (caller)[2] . ": " . ($what // "an answer") . " is not as expected\n"
        unless $holds;
}

my $client = Cache::Memcached::Fast->new({ servers => [$ARGV[0]], utf8 => 1 });

# The client tells by the flags of an item whether it was a text or a structure.
check($client->set("a", "größer", 3600) && $client->get("a") eq "größer");
check($client->set("b", { x => [1, undef] }) && $client->get("b")->{x}[0] == 1);
check(!defined $client->get("missing"));
my $stored = $client->set_multi(["m1", "1"], ["m2", "2"]);
check($stored->{m1} && $stored->{m2}, "set_multi");
my $several = $client->get_multi("m1", "m2", "missing");
check(keys %$several == 2 && $several->{m2} eq "2", "get_multi");

check($client->add("a", "x") eq "" && $client->add("new", "b"));
check($client->replace("missing", "x") eq "" && $client->replace("new", "b"));
check($client->append("new", "c") && $client->prepend("new", "a") && $client->get("new") eq "abc");

my $got = $client->gets("a");
check($client->cas("a", $got->[0], "second"), "cas");
check($client->cas("a", $got->[0], "third") eq "", "an old cas");

check($client->set("n", 10) && $client->incr("n", 5) == 15 && $client->decr("n", 20) == 0);
check($client->incr("nothing", 1) eq "", "incr of nothing");

check($client->touch("new", 100) && $client->touch("missing", 100) eq "", "touch");
check(keys %{ $client->gat_multi(100, "new", "missing") } == 1, "get and touch");
$client->set("short", "x", 1);
my $deadline = time + 10;
while (defined $client->get("short")) {
    check(time < $deadline, "an item of one second");
    sleep 0.1;
}

check($client->delete("new") && $client->delete("new") eq "", "delete");
my $large = "x" x 1_000_000;
check($client->set("large", $large) && $client->get("large") eq $large, "a large value");
$client->set("quiet$_", $_) for 0 .. 999; # no answer is read
$client->nowait_push;
check(keys %{ $client->get_multi(map { "quiet$_" } 0 .. 999) } == 1000, "many");
check((values %{ $client->server_versions })[0] =~ /^1\.\d+\.\d+$/, "version");
check((values %{ $client->flush_all })[0] && !defined $client->get("a"), "flush_all");
