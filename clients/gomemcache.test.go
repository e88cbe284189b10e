// gomemcache: the text protocol.
package main

import (
	"bytes"
	"log"
	"os"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
)

func check(ok bool, what string, args ...interface{}) {
	if !ok {
		log.Fatalf(what, args...)
	}
}

func must(err error) {
	if err != nil {
		log.Output(2, err.Error())
		os.Exit(1)
	}
}

func main() {
	log.SetFlags(log.Lshortfile)
	client := memcache.New(os.Args[1])
	client.Timeout = 5 * time.Second

	must(client.Set(&memcache.Item{Key: "a", Value: []byte("value"), Flags: 4294967295}))
	item, err := client.Get("a")
	must(err)
	check(string(item.Value) == "value" && item.Flags == 4294967295, "got %v", item)
	_, err = client.Get("missing")
	check(err == memcache.ErrCacheMiss, "a miss: %v", err)

	must(client.Add(&memcache.Item{Key: "new", Value: []byte("b")}))
	check(client.Add(item) == memcache.ErrNotStored, "added twice")
	items, err := client.GetMulti([]string{"a", "new", "missing"})
	must(err)
	check(len(items) == 2, "got %d items", len(items))

	item, err = client.Get("new")
	must(err)
	item.Value = []byte("mine")
	must(client.CompareAndSwap(item))
	check(client.CompareAndSwap(item) == memcache.ErrCASConflict, "swapped twice")

	must(client.Set(&memcache.Item{Key: "n", Value: []byte("10")}))
	n, err := client.Increment("n", 5)
	must(err)
	check(n == 15, "incremented to %d", n)
	n, err = client.Decrement("n", 20)
	must(err)
	check(n == 0, "decremented to %d", n)
	_, err = client.Increment("missing", 1)
	check(err == memcache.ErrCacheMiss, "counted a miss: %v", err)

	must(client.Set(&memcache.Item{Key: "short", Value: []byte("x"), Expiration: 1}))
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, err = client.Get("short"); err == memcache.ErrCacheMiss {
			break
		}
		must(err)
		check(time.Now().Before(deadline), "an item of one second is still there")
		time.Sleep(100 * time.Millisecond)
	}

	large := bytes.Repeat([]byte("x"), 1000000)
	must(client.Set(&memcache.Item{Key: "large", Value: large}))
	item, err = client.Get("large")
	must(err)
	check(bytes.Equal(item.Value, large), "large came back different")

	must(client.Delete("a"))
	check(client.Delete("a") == memcache.ErrCacheMiss, "deleted twice")
}
