#pragma once

/* For Windows: poll(2), for sockets only. */

#include <sys/socket.h>

#define poll WSAPoll
