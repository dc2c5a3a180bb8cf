#include "ackc/output/process.h"

#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h> /* and windows.h */

#include <shellapi.h>

/* The most UTF-16 units that are read from a console, and their bytes in UTF-8. */
#define CONSOLE_MAX 1024
#define CONSOLE_BYTES (3 * (CONSOLE_MAX + 1))

#define CONTROL_Z 0x1a /* at the beginning of a line: the end of the input */

const int process_signal_interim = SIGBREAK;
const bool process_has_unix_sockets = false; /* libuv has none here */

static UINT console_code_page; /* before this process changed it; 0: it did not */

static void restore_console(void)
{
	if (console_code_page)
		SetConsoleOutputCP(console_code_page);
}

/* Makes a console, if there is one, take UTF-8 and the escape sequences of the progress line. */
static void prepare_console(void)
{
	HANDLE errors = GetStdHandle(STD_ERROR_HANDLE);
	DWORD mode;

	console_code_page = GetConsoleOutputCP();
	if (console_code_page && SetConsoleOutputCP(CP_UTF8))
		atexit(restore_console);
	if (GetConsoleMode(errors, &mode))
		SetConsoleMode(errors, mode | ENABLE_VIRTUAL_TERMINAL_PROCESSING);
}

static char *utf8_of(const wchar_t *text)
{
	int n = WideCharToMultiByte(CP_UTF8, 0, text, -1, NULL, 0, NULL, NULL);
	char *utf8 = malloc((size_t)n);

	if (utf8)
		WideCharToMultiByte(CP_UTF8, 0, text, -1, utf8, n, NULL, NULL);
	return utf8;
}

/*
 * Replaces the arguments, unless memory runs out. The ones of main() are in the code page of the
 * system, which lacks most characters, and with file names for wildcards. They stay allocated until
 * the process ends.
 */
static bool decode_arguments(int *argc, char ***argv)
{
	int n;
	wchar_t **wide = CommandLineToArgvW(GetCommandLineW(), &n);
	char **utf8 = wide ? calloc((size_t)n + 1, sizeof(*utf8)) : NULL;
	bool good = utf8;

	for (int i = 0; good && i < n; i++)
		good = (utf8[i] = utf8_of(wide[i]));
	LocalFree((HLOCAL)wide);
	if (good) {
		*argc = n;
		*argv = utf8;
	}
	return good;
}

bool process_prepare(int *argc, char ***argv)
{
	_setmode(0, _O_BINARY);
	_setmode(1, _O_BINARY);
	_setmode(2, _O_BINARY);
	setvbuf(stdout, NULL, _IOFBF, BUFSIZ); /* a console would get each byte by itself */
	prepare_console();
	return decode_arguments(argc, argv);
}

void process_end_as_filter(void)
{
}

/* A pipe must not be asked: PeekNamedPipe() blocks while another thread reads. */
enum process_input process_look_at_input(void)
{
	switch (uv_guess_handle(0)) {
	case UV_FILE:
		return PROCESS_INPUT_READY;
	case UV_NAMED_PIPE:
		return PROCESS_INPUT_UNKNOWN;
	default:
		return PROCESS_INPUT_NONE;
	}
}

/* As bytes, a console would deliver text in its code page, which lacks most characters. */
static int read_console(HANDLE console, char *bytes)
{
	static wchar_t text[CONSOLE_MAX + 1];
	static DWORD kept; /* the first half of a character whose second half is not read yet */
	DWORD n = 0;
	DWORD used = 0;

	/* Control-C, which has a signal of its own, ends a read without text. */
	do {
		SetLastError(0);
		if (!ReadConsoleW(console, text + kept, CONSOLE_MAX, &n, NULL))
			return uv_translate_sys_error((int)GetLastError());
	} while (n == 0 && GetLastError() == ERROR_OPERATION_ABORTED);
	if (n > 0 && text[kept] == CONTROL_Z)
		return 0;
	n += kept;
	for (DWORD i = 0; i < n; i++)
		if (text[i] != '\r')
			text[used++] = text[i];
	kept = used > 0 && IS_HIGH_SURROGATE(text[used - 1]);
	n = (DWORD)WideCharToMultiByte(CP_UTF8, 0, text, (int)(used - kept), bytes, CONSOLE_BYTES,
				       NULL, NULL);
	if (kept)
		text[0] = text[used - 1];
	return (int)n;
}

int process_read_input(char *bytes, size_t n)
{
	HANDLE input = GetStdHandle(STD_INPUT_HANDLE);
	uv_buf_t buf = uv_buf_init(bytes, (unsigned)n);
	uv_fs_t request;
	DWORD mode;
	int r;

	if (GetConsoleMode(input, &mode))
		return read_console(input, bytes);
	r = uv_fs_read(NULL, &request, 0, &buf, 1, -1, NULL);
	uv_fs_req_cleanup(&request);
	return r;
}

/*
 * The _exit() of the libc would have each DLL end its part after the other threads were ended in
 * the middle of anything, such as with a lock that a DLL then waits for.
 */
void process_exit(int status)
{
	restore_console();
	TerminateProcess(GetCurrentProcess(), (UINT)status);
	abort(); /* not reached */
}

int process_failure(int error)
{
	switch (error) {
	case -ENOMEM:
		return UV_ENOMEM;
	case -EFBIG:
		return UV_EFBIG;
	default:
		return error < 0 ? UV_EIO : error;
	}
}
