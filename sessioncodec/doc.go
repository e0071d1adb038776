// Package sessioncodec is what the bytes in memcached mean.
package sessioncodec
