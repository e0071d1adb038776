// Command pillion is a session sidecar and its tools.
package main

func main() {}
