package main

import (
	"strings"
	"testing"
)

// resets are conversations that end with a RST of which the capture nearer to its alleged
// sender holds nothing, and may have ended before.
var resets = []conversation{
	{"a device resets both ends at once, and each capture ends with that", session + fromDevice, "forged-reset likely injected possible", "forged-reset likely", "forged-reset likely"},
	{"a device resets both ends at once, and well", session + fromBoth, "forged-reset likely", "closed", "closed"},
	{"a RST that looks like a device's, and the server's capture ends before", session + strings.Split(fromDevice, "\n+2ms")[0] + "\n", "forged-reset likely", "forged-reset likely", "-"},
	{"a RST that looks like a device's, and the server's capture misses much", strings.Replace(session, "len 36", "len 36 @client", 1) + fromDevice + passingTime, "forged-reset likely", "forged-reset likely", "-"},
	{"a RST that looks like the server's, and the server's capture ends before", session + strings.Split(fromBoth, "\n+2ms")[0] + "\n", "closed possible", "closed", "-"},
	{"a RST that looks like a device's comes to the server, and the client's capture ends before", session + "+28800s C > S RST seq 157 win 0 id 0 ttl 64 @server\n", "forged-reset likely", "-", "forged-reset likely"},
	{"a RST that looks like the client's comes to the server, and the client's capture ends before", session + "+28800s C > S RST,ACK seq 157 ack 900 ts 28842046 46057 win 501 ttl 63 @server\n", "closed possible", "-", "closed"},
	{"a database's idle timer, and the server's capture ends before", "S 198.51.100.2:3306\n" + session + strings.Split(fromBoth, "\n+2ms")[0] + "\n", "idle-close possible", "idle-close likely", "-"},
	{"a small device that rebooted acknowledges the keepalive alone", second + withoutTS + `
+806s C > S ACK     seq 156 ack 900
+11ms S > C RST,ACK seq 900 ack 156 win 2144
` + fresh, "peer-lost-state proven", "peer-lost-state possible", "peer-lost-state possible"},
	{"a RST acknowledges what a socket had got", second + withoutTS + `
+806s C > S ACK     seq 156 ack 900
+11ms S > C RST,ACK seq 900 ack 157 win 2144
` + fresh, "closed", "closed", "closed"},
	{"a RST answers data out of a silence, from a host that may have no socket", second + withoutTS + `
+806s C > S PSH,ACK seq 157 ack 900 len 100
+11ms S > C RST,ACK seq 900 ack 257 win 2144
` + fresh, "closed possible", "closed possible", "closed possible"},
	{"a RST and nothing before it", "+1s C > S RST,ACK seq 157 ack 900 win 501\n", "closed possible", "closed possible", "closed possible"},
}

// fromDevice are the RSTs of a device one router away from both ends, fromBoth those of one
// that takes all of them from the ends.
const (
	fromDevice = `
+28800s S > C RST seq 900 win 0 id 0 ttl 64 @client
+2ms    C > S RST seq 157 win 0 id 0 ttl 64 @server
`
	fromBoth = `
+28800s S > C RST,ACK seq 900 ack 157 ts 28846057 42046 win 501 ttl 63 @client
+2ms    C > S RST,ACK seq 157 ack 900 ts 28842046 46057 win 501 ttl 63 @server
`
)

func TestADoubtedRSTIsSaidToBeInItsSendersName(t *testing.T) {
	client, server := ends(t, session+strings.Split(fromBoth, "\n+2ms")[0]+"\n")
	prints(t, "both", []string{"A RST in the server's name ended the connection, after 8h00m00s of silence."}, client, server)
	prints(t, "client alone", []string{"The server ended the connection with a RST, after 8h00m00s of silence."}, client)
}
