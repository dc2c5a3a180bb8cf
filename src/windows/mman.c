#include <assert.h>
#include <sys/mman.h>
#include <windows.h>

static_assert(PROT_NONE == PAGE_NOACCESS && PROT_WRITE == PAGE_READWRITE, "the values of Windows");

void *mmap(void *at, size_t n, int protection, int flags, int fd, off_t offset)
{
	return VirtualAlloc(at, n, MEM_RESERVE | MEM_COMMIT, (DWORD)protection);
}

int mprotect(void *p, size_t n, int protection)
{
	DWORD before;

	return VirtualProtect(p, n, (DWORD)protection, &before) ? 0 : -1;
}

int munmap(void *p, size_t n)
{
	return VirtualFree(p, 0, MEM_RELEASE) ? 0 : -1;
}

long sysconf(int name)
{
	SYSTEM_INFO info;

	GetSystemInfo(&info);
	return (long)info.dwPageSize;
}
