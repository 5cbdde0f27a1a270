package checkpoint

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"strings"
)

// protocols are those of RFC 1700 that CRIU dumps.
var protocols = map[uint64]string{1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPV6", 136: "UDPL", 255: "RAW"}

// families are netlink's (include/uapi/linux/netlink.h).
var families = map[uint64]string{
	0: "ROUTE", 2: "USERSOCK", 3: "FIREWALL", 4: "SOCK_DIAG", 5: "NFLOG", 6: "XFRM", 7: "SELINUX", 8: "ISCSI", 9: "AUDIT", 10: "FIB_LOOKUP", 11: "CONNECTOR", 12: "NETFILTER",
	14: "DNRTMSG", 15: "KOBJECT_UEVENT", 16: "GENERIC", 18: "SCSITRANSPORT", 20: "RDMA", 21: "CRYPTO", 22: "SMC",
}

// kinds are the types of sockets (include/linux/net.h).
var kinds = map[uint64]string{1: "STREAM", 2: "DGRAM", 3: "RAW", 4: "RDM", 5: "SEQPACKET", 6: "DCCP", 10: "PACKET"}

func inet(m message) *Socket {
	s := &Socket{Type: "INETSK", Protocol: protocols[m.num(skProto)], SourcePort: uint32(m.num(skSrcPort)), RemotePort: uint32(m.num(skDstPort)), State: state(m.num(skState))}
	s.Source, s.Remote = address(m.nums(skSrcAddr)), address(m.nums(skDstAddr))
	s.buffers(m, skOpts)
	return s
}

// address is one or four words in the byte order of the network.
func address(words []uint64) string {
	b := make([]byte, 0, 16)
	for _, w := range words[:min(len(words), 4)] {
		b = binary.LittleEndian.AppendUint32(b, uint32(w))
	}
	a, ok := netip.AddrFromSlice(b)
	if !ok {
		return ""
	}
	return a.Unmap().String()
}

func state(n uint64) string {
	if n < uint64(len(tcpStates)) {
		return tcpStates[n]
	}
	return ""
}

func unix(m message) *Socket {
	name := m.text(usName)
	if strings.HasPrefix(name, "\x00") {
		name = "@" + name[1:]
	}
	s := &Socket{Type: "UNIXSK", Protocol: kinds[m.num(usType)], Source: strings.TrimRight(name, "\x00"), State: state(m.num(usState))}
	s.buffers(m, usOpts)
	return s
}

// packet is a socket that sees frames below IP. Its protocol is an EtherType,
// with 0x0003 for all (include/uapi/linux/if_ether.h).
func packet(m message) *Socket {
	proto := "ALL"
	if n := m.num(pskProto); n != 3 {
		proto = "0x" + strconv.FormatUint(n, 16)
	}
	s := &Socket{Type: "PACKETSK", Protocol: proto}
	s.buffers(m, pskOpts)
	return s
}

func netlink(m message) *Socket {
	n := m.num(nlProto)
	proto := families[n]
	if proto == "" {
		proto = strconv.FormatUint(n, 10)
	}
	s := &Socket{Type: "NETLINKSK", Protocol: proto, State: state(m.num(nlState))}
	s.buffers(m, nlOpts)
	return s
}

// buffers reads how large a socket's buffers are.
func (s *Socket) buffers(m message, field int) {
	if opts, err := m.sub(field); err == nil {
		s.SendBuffer, s.ReceiveBuffer = uint32(opts.num(soSend)), uint32(opts.num(soReceive))
	}
}
