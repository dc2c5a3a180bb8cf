/* The raw epoll echo: the reference of every ratio. */
#include "epoll.h"
#include "listen.h"

int main(int argc, char **argv)
{
	epoll_serve(listen_or_exit(argc, argv, true), epoll_send, NULL);
}
