// yamuxd.go - hashicorp's yamux, as a peer on the loopback that does what it is told.
//
//	yamuxd [--unix PATH] [--relay ADDRESS]
//
// It prints where it listens, a line each, then "ready":
//
//	server PORT    yamux server on 127.0.0.1 (and on the unix socket PATH, when asked): it accepts
//	               streams, and does with each what its first line says
//	client PORT    takes connections as well, but is the yamux client on them: it opens streams to
//	               whoever has connected
//	relay PORT     yamux server as well: joins each stream to a connection of its own to ADDRESS
//	ready
//
// It exits when its standard input closes, so that a test that dies leaves nothing behind, and by
// itself after ten minutes.
//
// server. The first line of a stream, what follows it being data:
//
//	echo           sends back what comes; ends when the peer has
//	sink           reads to the end; then "COUNT SUM\n", the FNV-1a of all bytes, and its end
//	source N       N bytes of the pattern, and its end
//	half           "bye\n" and its end at once; reads nothing
//	slow N         reads nothing until there is nothing left to read for N ms, then as sink
//	ping           asks us for a sign of life; "pong\n" when it came, and its end
//	goaway         says that it takes no more streams; "going\n", then as echo
//	close          closes the connection, with a GOAWAY only if one was asked for
//	dial N SIZE    opens N streams at once to whoever is there, sends SIZE bytes of the pattern on
//	               each and reads as many back, to the end; then "OK N\n", or what went wrong
//	serial N SIZE  the same, one after the other
//
// client. Each connection: the program opens a stream and does what the peer's first line on it says, as
// above.
//
// Byte i of the pattern is i*7 mod 251.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/yamux"
)

const lifetime = 10 * time.Minute

func pattern(size int) []byte {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i * 7 % 251)
	}
	return data
}

// dialOne sends the data on a stream of its own and wants it back.
func dialOne(session *yamux.Session, data []byte) error {
	stream, err := session.OpenStream()
	if err != nil {
		return err
	}
	defer stream.Close()
	sent := make(chan error, 1)
	go func() {
		_, err := stream.Write(data)
		sent <- err
	}()
	back := make([]byte, len(data))
	if _, err := io.ReadFull(stream, back); err != nil {
		return err
	}
	if err := <-sent; err != nil {
		return err
	}
	if !bytes.Equal(data, back) {
		return errors.New("other bytes came back")
	}
	return nil
}

func dial(session *yamux.Session, count, size int, isSerial bool) string {
	data := pattern(size)
	results := make(chan error, count)
	for i := 0; i < count; i++ {
		if isSerial {
			results <- dialOne(session, data)
		} else {
			go func() { results <- dialOne(session, data) }()
		}
	}
	for i := 0; i < count; i++ {
		if err := <-results; err != nil {
			return fmt.Sprintf("%v\n", err)
		}
	}
	return fmt.Sprintf("OK %d\n", count)
}

func sink(stream io.ReadWriter, from io.Reader) {
	sum := fnv.New32a()
	count, err := io.Copy(sum, from)
	if err != nil {
		fmt.Fprintf(stream, "%v\n", err)
		return
	}
	fmt.Fprintf(stream, "%d %d\n", count, sum.Sum32())
}

func obey(session *yamux.Session, stream *yamux.Stream) {
	defer stream.Close()
	from := bufio.NewReader(stream)
	line, err := from.ReadString('\n')
	if err != nil {
		return
	}
	var count, size int
	word := strings.Fields(line)[0]
	fmt.Sscanf(line[len(word):], "%d %d", &count, &size)
	switch word {
	case "echo":
		io.Copy(stream, from)
	case "sink":
		sink(stream, from)
	case "source":
		stream.Write(pattern(count))
	case "half":
		stream.Write([]byte("bye\n"))
	case "slow":
		time.Sleep(time.Duration(count) * time.Millisecond)
		sink(stream, from)
	case "ping":
		if _, err := session.Ping(); err == nil {
			stream.Write([]byte("pong\n"))
		}
	case "goaway":
		session.GoAway()
		stream.Write([]byte("going\n"))
		io.Copy(stream, from)
	case "close":
		session.Close()
	case "dial", "serial":
		io.WriteString(stream, dial(session, count, size, word == "serial"))
	default:
		fmt.Fprintf(stream, "unknown: %s", line)
	}
}

// join passes on what comes on either side, and its end.
func join(stream net.Conn, address string) {
	defer stream.Close()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer conn.Close()
	go func() {
		io.Copy(conn, stream)
		conn.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(stream, conn)
}

// quiet has everything as it is by default, but logs nothing: frames for streams that are gone are no news.
func quiet() *yamux.Config {
	config := yamux.DefaultConfig()
	config.LogOutput = io.Discard
	return config
}

func serve(conn net.Conn, handle func(*yamux.Session, *yamux.Stream)) {
	session, err := yamux.Server(conn, quiet())
	if err != nil {
		return
	}
	for {
		stream, err := session.AcceptStream()
		if err != nil {
			return
		}
		go handle(session, stream)
	}
}

func serveObeying(conn net.Conn) { serve(conn, obey) }

func command(conn net.Conn) {
	session, err := yamux.Client(conn, quiet())
	if err != nil {
		return
	}
	stream, err := session.OpenStream()
	if err != nil {
		return
	}
	obey(session, stream)
}

func listen(name, network, address string, handle func(net.Conn)) {
	listener, err := net.Listen(network, address)
	if err != nil {
		fmt.Fprintf(os.Stderr, "yamuxd: %v\n", err)
		os.Exit(1)
	}
	if tcp, isTCP := listener.Addr().(*net.TCPAddr); isTCP {
		fmt.Printf("%s %d\n", name, tcp.Port)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go handle(conn)
		}
	}()
}

func main() {
	path := flag.String("unix", "", "serve on this unix socket as well")
	address := flag.String("relay", "", "relay streams to this address")
	flag.Parse()
	listen("server", "tcp", "127.0.0.1:0", serveObeying)
	listen("client", "tcp", "127.0.0.1:0", command)
	if *path != "" {
		listen("", "unix", *path, serveObeying)
	}
	if *address != "" {
		listen("relay", "tcp", "127.0.0.1:0", func(conn net.Conn) {
			serve(conn, func(_ *yamux.Session, stream *yamux.Stream) { join(stream, *address) })
		})
	}
	fmt.Println("ready")
	time.AfterFunc(lifetime, func() { os.Exit(1) })
	io.Copy(io.Discard, os.Stdin)
}
