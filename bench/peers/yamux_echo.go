// yamux_echo.go - hashicorp's yamux as a client:  yamux_echo tcp://HOST:PORT echoes streams
//
// 64 bytes to an echo server and back, over and over, on so many streams of one connection.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/yamux"
)

func fail(what string, err error) {
	fmt.Fprintf(os.Stderr, "yamux_echo: %s: %v\n", what, err)
	os.Exit(1)
}

func work(session *yamux.Session, left *int64) {
	message := bytes.Repeat([]byte("0123456789abcdef"), 4)
	answer := make([]byte, len(message))
	stream, err := session.Open()
	if err != nil {
		fail("open", err)
	}
	defer stream.Close()
	for atomic.AddInt64(left, -1) >= 0 {
		if _, err := stream.Write(message); err != nil {
			fail("write", err)
		}
		if _, err := io.ReadFull(stream, answer); err != nil {
			fail("read", err)
		}
		if !bytes.Equal(message, answer) {
			fail("read", fmt.Errorf("not what was written"))
		}
	}
}

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: yamux_echo tcp://HOST:PORT echoes streams")
		os.Exit(2)
	}
	left, _ := strconv.ParseInt(os.Args[2], 10, 64)
	streams, _ := strconv.Atoi(os.Args[3])
	conn, err := net.Dial("tcp", strings.TrimPrefix(os.Args[1], "tcp://"))
	if err != nil {
		fail("dial", err)
	}
	session, err := yamux.Client(conn, nil)
	if err != nil {
		fail("session", err)
	}
	var all sync.WaitGroup
	for i := 0; i < streams; i++ {
		all.Add(1)
		go func() {
			defer all.Done()
			work(session, &left)
		}()
	}
	all.Wait()
	session.Close()
}
