package httpapi

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func sampleFrames() []*Frame {
	return []*Frame{
		{ID: 1, Method: "PUT", Path: "/v1/kv/a%2Fb?w=2", Header: http.Header{"X-B": {"1", "2"}, "X-A": {""}}, Body: []byte{0, 255}},
		{ID: 1<<64 - 1, Status: 204, Header: http.Header{HeaderStamp: {"1.0.1.1"}}, Body: []byte{}},
		{Body: []byte{}},
	}
}

func bytesOf(t testing.TB, frames ...*Frame) []byte {
	var data []byte
	for _, f := range frames {
		var err error
		data, err = f.Append(data)
		require.NoError(t, err)
	}
	return data
}

func TestFramesRoundTrip(t *testing.T) {
	r := bufio.NewReader(bytes.NewReader(bytesOf(t, sampleFrames()...)))
	for _, want := range sampleFrames() {
		got, err := ReadFrame(r, MaxFrame)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := ReadFrame(r, MaxFrame)
	require.Equal(t, io.EOF, err)
}

// The bytes are what other programs speak: they must not change.
func TestFrameBytes(t *testing.T) {
	f := Frame{ID: 7, Method: "PUT", Path: "/k", Header: http.Header{"A": {"b"}}, Body: []byte("v")}
	require.Equal(t, "\x00\x00\x00\x1c"+"\x00\x00\x00\x00\x00\x00\x00\x07"+"\x00\x00"+"\x00\x03PUT"+"\x00\x02/k"+"\x00\x01\x00\x01A\x00\x01b"+"v",
		string(bytesOf(t, &f)))
}

func TestFramesThatCannotBe(t *testing.T) {
	whole := bytesOf(t, sampleFrames()[0])
	for n := 1; n < len(whole); n++ {
		_, err := ReadFrame(bufio.NewReader(bytes.NewReader(whole[:n])), MaxFrame)
		require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%d of %d bytes", n, len(whole))
	}
	_, err := ReadFrame(bufio.NewReader(bytes.NewReader(whole)), len(whole)-5)
	require.ErrorContains(t, err, "are allowed")
	short := append([]byte{0, 0, 0, 13}, whole[4:17]...) // ends within the method
	_, err = ReadFrame(bufio.NewReader(bytes.NewReader(short)), MaxFrame)
	require.ErrorContains(t, err, "ends too early")
	_, err = ReadFrame(bufio.NewReader(strings.NewReader("GET / HTTP/1.1\r\n\r\n")), MaxFrame)
	require.ErrorContains(t, err, "malformed stream")

	_, err = (&Frame{Path: strings.Repeat("k", 1<<16)}).Append(nil)
	require.ErrorContains(t, err, "cannot be carried")
}

// Bytes from the network give a frame that can be sent again, or an error;
// never a panic.
func FuzzReadFrame(f *testing.F) {
	f.Add(bytesOf(f, sampleFrames()...))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := ReadFrame(bufio.NewReader(bytes.NewReader(data)), 1<<20)
		if err != nil {
			return
		}
		again, err := ReadFrame(bufio.NewReader(bytes.NewReader(bytesOf(t, got))), 1<<20)
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}

func BenchmarkFrame(b *testing.B) {
	f := sampleFrames()[0]
	f.Body = make([]byte, 256)
	var data []byte
	b.ReportAllocs()
	for b.Loop() {
		data, _ = f.Append(data[:0])
		if _, err := ReadFrame(bufio.NewReader(bytes.NewReader(data)), MaxFrame); err != nil {
			b.Fatal(err)
		}
	}
}
