package boltstore

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/openhands-local/openhands-local/store"
)

const (
	recordFormat = 1
	recordHeader = 1 + 2 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// seal makes a record of the parts of a content.
func seal(flags uint16, content ...[]byte) []byte {
	size := recordHeader
	for _, c := range content {
		size += len(c)
	}
	r := append(make([]byte, 0, size), recordFormat)
	r = binary.BigEndian.AppendUint16(r, flags)
	r = append(r, 0, 0, 0, 0)
	for _, c := range content {
		r = append(r, c...)
	}
	binary.BigEndian.PutUint32(r[3:], checksum(r))
	return r
}

// unseal returns what a record holds, or ErrCorrupt. The content is not copied.
func unseal(r []byte) (flags uint16, content []byte, err error) {
	if len(r) < recordHeader || r[0] != recordFormat || binary.BigEndian.Uint32(r[3:]) != checksum(r) {
		return 0, nil, store.ErrCorrupt
	}
	return binary.BigEndian.Uint16(r[1:]), r[recordHeader:], nil
}

// checksum is the CRC-32C of a record without the place that holds it.
func checksum(r []byte) uint32 {
	sum := crc32.Update(0, castagnoli, r[:3])
	return crc32.Update(sum, castagnoli, r[recordHeader:])
}
