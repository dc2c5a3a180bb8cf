#pragma once

/* For Windows: socket addresses and functions of sockets, from Winsock. */

#include <winsock2.h>
#include <ws2tcpip.h>

typedef ADDRESS_FAMILY sa_family_t;
