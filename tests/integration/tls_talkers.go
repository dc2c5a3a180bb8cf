// Clients with TLS that talk all the time, for test_tls_restart.py: each sends a line, in pieces that
// end anywhere in a record, and compares the whole echo before it sends the next one.
//
// Arguments: address, number of clients, directory of certificates. Commands on standard input, each
// answered by a line on standard output:
//
//	move   waits until each client has compared another line
//	pause  waits until no client waits for an echo; none goes on
//	end    expects close_notify on each connection
//
// Any fault is reported on standard error, and ends the program with 1.
package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/rand"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Between two lines of a client.
const rest = 300 * time.Millisecond

func fail(what string, err error) {
	fmt.Fprintln(os.Stderr, what, err)
	os.Exit(1)
}

// A connection that sends what it gets in two pieces.
type cutting struct{ net.Conn }

func (c cutting) Write(data []byte) (int, error) {
	cut := rand.Intn(len(data))
	n, err := c.Conn.Write(data[:cut])
	if err != nil {
		return n, err
	}
	time.Sleep(time.Duration(rand.Intn(20)) * time.Millisecond)
	more, err := c.Conn.Write(data[cut:])
	return n + more, err
}

type talker struct {
	conn  *tls.Conn
	lines atomic.Int64
	talks sync.Mutex // held between a line and its echo
}

func (t *talker) talk(name string) {
	in := bufio.NewReader(t.conn)
	for i := 0; ; i++ {
		line := fmt.Sprintf("%s, line %d: %s\n", name, i, strings.Repeat("€uro ", rand.Intn(400)))
		t.talks.Lock()
		if _, err := io.WriteString(t.conn, line); err != nil {
			fail(name+": write:", err)
		}
		echo, err := in.ReadString('\n')
		if err != nil {
			fail(name+": read:", err)
		}
		if echo != line {
			fail(name+": another echo:", fmt.Errorf("%q, not %q", echo, line))
		}
		t.lines.Add(1)
		t.talks.Unlock()
		time.Sleep(rest/2 + time.Duration(rand.Int63n(int64(rest))))
	}
}

func dial(address, directory string, version uint16) *tls.Conn {
	pair, err := tls.LoadX509KeyPair(directory+"/client.pem", directory+"/client.key")
	if err != nil {
		fail("certificate:", err)
	}
	authority, err := os.ReadFile(directory + "/ca.pem")
	if err != nil {
		fail("authority:", err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(authority)
	plain, err := net.Dial("tcp", address)
	if err != nil {
		fail("connect:", err)
	}
	conn := tls.Client(cutting{plain}, &tls.Config{ServerName: "localhost", RootCAs: trusted,
		Certificates: []tls.Certificate{pair}, MinVersion: version, MaxVersion: version})
	if err := conn.Handshake(); err != nil {
		fail("handshake:", err)
	}
	return conn
}

func main() {
	n, _ := strconv.Atoi(os.Args[2])
	talkers := make([]*talker, n)
	for i := range talkers {
		talkers[i] = &talker{conn: dial(os.Args[1], os.Args[3], tls.VersionTLS12+uint16(i%2))}
		go talkers[i].talk(fmt.Sprintf("Go client %d", i))
	}
	before := make([]int64, n)
	for input := bufio.NewScanner(os.Stdin); input.Scan(); fmt.Println("done") {
		for i, t := range talkers {
			before[i] = t.lines.Load()
		}
		for i, t := range talkers {
			switch input.Text() {
			case "move":
				for t.lines.Load() == before[i] {
					time.Sleep(10 * time.Millisecond)
				}
			case "pause":
				t.talks.Lock()
			case "end":
				if got, err := t.conn.Read(make([]byte, 1)); err != io.EOF {
					fail("end:", fmt.Errorf("%d bytes, %v", got, err))
				}
			}
		}
	}
	total := int64(0)
	for _, t := range talkers {
		total += t.lines.Load()
	}
	fmt.Println(total)
}
