// A network in front of an S3 server: every request waits, every connection moves so many bytes a second, all of
// them together no more than a total, and a store that is asked too often refuses.
//
// GET /__far sets what the query names (delay=30ms, rate and total in bytes a second, requests a second,
// refuse=0.33 of all requests; 0 is no limit) and answers with what has passed since the last time.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"sync"
	"time"
)

const piece = 64 << 10

type pace struct {
	sync.Mutex
	rate float64
	free time.Time
}

// wait gives so many units their place in time, and sleeps until then.
func (p *pace) wait(units int) {
	p.Lock()
	if p.rate <= 0 {
		p.Unlock()
		return
	}
	now := time.Now()
	if p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(float64(units) / p.rate * 1e9))
	due := p.free
	p.Unlock()
	time.Sleep(time.Until(due))
}

// take says whether a unit is to be had now, with a tenth of a second's worth of them saved up.
func (p *pace) take() bool {
	p.Lock()
	defer p.Unlock()
	if p.rate <= 0 {
		return true
	}
	now := time.Now()
	if least := now.Add(-100 * time.Millisecond); p.free.Before(least) {
		p.free = least
	}
	if p.free.After(now) {
		return false
	}
	p.free = p.free.Add(time.Duration(1e9 / p.rate))
	return true
}

type far struct {
	sync.Mutex
	delay        time.Duration
	rate, refuse float64
	total, asked pace
	Requests     map[string]int
	Refused      int
	Now, Most    int
	Up, Down     int64
	Busy         float64
	changed      time.Time
}

func (f *far) count(change int) {
	now := time.Now()
	if f.Now > 0 {
		f.Busy += now.Sub(f.changed).Seconds()
	}
	f.changed = now
	f.Now += change
	f.Most = max(f.Most, f.Now)
}

type body struct {
	io.ReadCloser
	far     *far
	own     pace
	counted *int64
}

func (b *body) Read(p []byte) (int, error) {
	if len(p) > piece && (b.own.rate > 0 || b.far.total.rate > 0) {
		p = p[:piece]
	}
	n, err := b.ReadCloser.Read(p)
	b.own.wait(n)
	b.far.total.wait(n)
	b.far.Lock()
	*b.counted += int64(n)
	b.far.Unlock()
	return n, err
}

func (f *far) control(w http.ResponseWriter, query url.Values) {
	f.Lock()
	defer f.Unlock()
	f.count(0)
	json.NewEncoder(w).Encode(f)
	f.Requests, f.Refused, f.Most, f.Up, f.Down, f.Busy = map[string]int{}, 0, f.Now, 0, 0, 0
	number := func(name string, into *float64) {
		if query.Has(name) {
			*into, _ = strconv.ParseFloat(query.Get(name), 64)
		}
	}
	if query.Has("delay") {
		f.delay, _ = time.ParseDuration(query.Get("delay"))
	}
	number("rate", &f.rate)
	number("refuse", &f.refuse)
	f.total.Lock()
	number("total", &f.total.rate)
	f.total.Unlock()
	f.asked.Lock()
	number("requests", &f.asked.rate)
	f.asked.Unlock()
}

type buffers struct{ sync.Pool }

func (b *buffers) Get() []byte  { return b.Pool.Get().([]byte) }
func (b *buffers) Put(p []byte) { b.Pool.Put(p) }

func main() {
	to := flag.String("to", "", "URL of the server")
	flag.Parse()
	server, err := url.Parse(*to)
	if err != nil {
		panic(err)
	}
	f := &far{Requests: map[string]int{}, changed: time.Now()}
	proxy := &httputil.ReverseProxy{
		Director:      func(r *http.Request) { r.URL.Scheme, r.URL.Host = server.Scheme, server.Host },
		FlushInterval: -1,
		BufferPool:    &buffers{sync.Pool{New: func() any { return make([]byte, 256<<10) }}},
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 512, DisableCompression: true,
			WriteBufferSize: piece, ReadBufferSize: piece,
		},
		ModifyResponse: func(r *http.Response) error {
			f.Lock()
			rate := f.rate
			f.Unlock()
			r.Body = &body{r.Body, f, pace{rate: rate}, &f.Down}
			return nil
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) { w.WriteHeader(502) },
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/__far" {
			f.control(w, r.URL.Query())
			return
		}
		f.Lock()
		f.Requests[r.Method]++
		f.count(1)
		delay, rate, refused := f.delay, f.rate, rand.Float64() < f.refuse
		f.Unlock()
		defer func() { f.Lock(); f.count(-1); f.Unlock() }()
		time.Sleep(delay)
		if refused || !f.asked.take() {
			f.Lock()
			f.Refused++
			f.Unlock()
			io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(503)
			if r.Method != "HEAD" {
				fmt.Fprint(w, "<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>")
			}
			return
		}
		if r.ContentLength != 0 {
			r.Body = &body{r.Body, f, pace{rate: rate}, &f.Up}
		}
		proxy.ServeHTTP(w, r)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr())
	// Whoever has started it ends it by closing its standard input.
	go func() { io.Copy(io.Discard, os.Stdin); os.Exit(0) }()
	http.Serve(listener, http.HandlerFunc(handler))
}
