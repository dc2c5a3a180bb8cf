#pragma once

/* For Windows: the type of the address. ackc connects to no UNIX socket there. */

#include <sys/socket.h>

#include <afunix.h>
