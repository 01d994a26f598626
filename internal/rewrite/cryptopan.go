package rewrite

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"net/netip"
)

// KeySize is how many octets the key of NewKeyedAddresses has.
const KeySize = 32

// cryptoPAn flips each bit of an address by a function of the bits before it:
// the first bit of AES over those bits, filled up from a secret pad.
type cryptoPAn struct {
	block cipher.Block
	pad   [aes.BlockSize]byte
}

func newCryptoPAn(key []byte) (*cryptoPAn, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("a key has %d octets, not %d", KeySize, len(key))
	}
	block, err := aes.NewCipher(key[:16])
	if err != nil {
		return nil, err
	}
	p := &cryptoPAn{block: block}
	block.Encrypt(p.pad[:], key[16:])
	return p, nil
}

// replace goes on until the address is one that a host can have: those that
// are nobody's stay what they are, so that no two become one.
func (p *cryptoPAn) replace(a netip.Addr) netip.Addr {
	for {
		b := a.AsSlice()
		p.bits(b)
		a, _ = netip.AddrFromSlice(b)
		if _, ours := common(a); !ours && !nat64.Contains(a) && !a.Is4In6() {
			return a
		}
	}
}

// bits replaces the octets of an address.
func (p *cryptoPAn) bits(b []byte) {
	var in, out [aes.BlockSize]byte
	var flips [aes.BlockSize]byte
	in = p.pad
	for i := range len(b) * 8 {
		p.block.Encrypt(out[:], in[:])
		mask := byte(0x80) >> (i % 8)
		if out[0]&0x80 != 0 {
			flips[i/8] |= mask
		}
		in[i/8] = in[i/8]&^mask | b[i/8]&mask
	}
	for i := range b {
		b[i] ^= flips[i]
	}
}

func (*cryptoPAn) restore(netip.Addr, netip.Addr) {} // nothing to remember: the key says it all
