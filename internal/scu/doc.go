// Package scu holds the commands that call another node: echo, send,
// find, move and get.
// It is what an operator tries a connection with, not a part of a running node.
//
// Files are sent as they are, in the transfer syntax that they have; nothing is
// converted. What the peer does not accept is reported and left out. What is
// fetched comes as it is stored, whatever its class and syntax.
package scu
