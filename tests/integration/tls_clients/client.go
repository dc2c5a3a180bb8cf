// Copies the standard input to a TLS server, and what it sends to the standard output. The arguments
// are the port, the file of authorities, the version, and the suite, which Go chooses itself in TLS 1.3.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"os"
)

func identifier(name string) []uint16 {
	for _, suite := range tls.CipherSuites() {
		if suite.Name == name {
			return []uint16{suite.ID}
		}
	}
	return nil
}

func main() {
	authorities, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authorities)
	version := map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}[os.Args[3]]
	conn, err := tls.Dial("tcp", "127.0.0.1:"+os.Args[1], &tls.Config{
		RootCAs: pool, ServerName: "localhost", MinVersion: version, MaxVersion: version,
		CipherSuites: identifier(os.Args[4]),
	})
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		if _, err := io.Copy(conn, os.Stdin); err != nil {
			log.Fatal(err)
		}
		conn.CloseWrite()
	}()
	if _, err := io.Copy(os.Stdout, conn); err != nil {
		log.Fatal(err)
	}
	conn.Close()
}
