#pragma once

/* For Windows. */

#include <sys/socket.h>
