#pragma once

/* The binary format of a PROXY header of version 2, for its parser and for ackc, which sends it. */

/* Signature, version and command, family and protocol, length of the rest (16 bits) */
#define V2_SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define V2_SIGNATURE_LENGTH (sizeof(V2_SIGNATURE) - 1)
#define V2_FIXED_LENGTH 16
#define V2_COMMAND_LOCAL 0x20
#define V2_COMMAND_PROXY 0x21
#define V2_FAMILY_MAX 3	   /* unspecified, IPv4, IPv6, UNIX */
#define V2_TRANSPORT_MAX 2 /* unspecified, stream, datagram */
#define V2_UNSPECIFIED 0x00
#define V2_TCP_IPV4 0x11
#define V2_UDP_IPV4 0x12
#define V2_TCP_IPV6 0x21
#define V2_UDP_IPV6 0x22
#define V2_UNIX_STREAM 0x31
#define V2_UNIX_DATAGRAM 0x32
#define V2_UNIX_PATH_LENGTH 108
