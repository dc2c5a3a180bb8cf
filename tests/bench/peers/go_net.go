// The Go server: a goroutine a connection; for ack bufio, flushed when no input is left to look at;
// for scan as it is usually written: each line of a bufio.Scanner is answered by a write.
package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"os"
)

func echo(conn net.Conn) {
	defer conn.Close()
	buffer := make([]byte, 64*1024)
	for {
		n, err := conn.Read(buffer)
		if n > 0 {
			if _, err := conn.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func ack(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 64*1024)
	out := bufio.NewWriterSize(conn, 64*1024)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		out.WriteString("Got ")
		out.Write(line)
		if in.Buffered() == 0 {
			if out.Flush() != nil {
				return
			}
		}
	}
}

func scan(conn net.Conn) {
	defer conn.Close()
	lines := bufio.NewScanner(conn)
	for lines.Scan() {
		if _, err := fmt.Fprintf(conn, "Got %s\n", lines.Bytes()); err != nil {
			return
		}
	}
}

func main() {
	handlers := map[string]func(net.Conn){"ack": ack, "scan": scan}
	handler := echo
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if len(os.Args) > 3 { // tls DIRECTORY
		pair, err := tls.LoadX509KeyPair(os.Args[3]+"/tls.crt", os.Args[3]+"/tls.key")
		if err != nil {
			log.Fatal(err)
		}
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{pair}})
	} else if len(os.Args) > 2 {
		handler = handlers[os.Args[2]]
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Print(err)
			continue
		}
		go handler(conn)
	}
}
