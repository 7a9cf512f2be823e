// Command testnode is the smallest system that shows every fault: an HTTP
// server with a durable key-value map of its own, a clock, and a way to call
// another node. It runs in the containers of the docker world's own tests.
//
//	GET /ready
//	GET /wall                → Unix nanoseconds of the wall clock
//	GET /drift?ms=           → nanoseconds of wall and monotonic time that passed meanwhile
//	GET /put?key=&value=     → durable when answered
//	GET /get?key=            → value, or 404
//	GET /call?url=&ms=       → fetches from another node, 502 when it cannot within ms
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: testnode ADDRESS DIRECTORY")
	}
	address, dir := os.Args[1], os.Args[2]
	log.Printf("testnode %d on %s with %s", os.Getpid(), address, dir)
	http.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ready") })
	http.HandleFunc("/wall", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, time.Now().UnixNano()) })
	http.HandleFunc("/drift", drift)
	http.HandleFunc("/put", func(w http.ResponseWriter, r *http.Request) {
		if err := write(file(dir, r), r.FormValue("value")); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	http.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile(file(dir, r))
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		w.Write(b)
	})
	http.HandleFunc("/call", call)
	log.Fatal(http.ListenAndServe(address, nil))
}

// file is where a key lives. Escaping keeps it inside the directory.
func file(dir string, r *http.Request) string {
	return filepath.Join(dir, "key-"+url.QueryEscape(r.FormValue("key")))
}

func write(path, value string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteString(value); err != nil {
		return err
	}
	return f.Sync()
}

func milliseconds(r *http.Request) time.Duration {
	ms, _ := strconv.Atoi(r.FormValue("ms")) // none is 0
	return time.Duration(ms) * time.Millisecond
}

func drift(w http.ResponseWriter, r *http.Request) {
	before := time.Now()
	time.Sleep(milliseconds(r))
	after := time.Now()
	fmt.Fprintf(w, "%d %d", after.UnixNano()-before.UnixNano(), after.Sub(before))
}

func call(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), milliseconds(r))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.FormValue("url"), nil)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		log.Print(err)
	}
}
