#include "ackc/output/process.h"

#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <signal.h>
#include <stdlib.h>
#include <uv.h> /* and windows.h */

#include <shellapi.h>

const int process_signal_interim = SIGBREAK;
const bool process_has_unix_sockets = false; /* libuv has none here */

static UINT console_code_page; /* before this process changed it */

static void restore_console(void)
{
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
 * Replaces the arguments. The ones of main() are in the code page of the system, which lacks most
 * characters, and with file names for wildcards. They stay allocated until the process ends.
 */
static bool decode_arguments(int *argc, char ***argv)
{
	wchar_t **wide = CommandLineToArgvW(GetCommandLineW(), argc);
	char **utf8 = calloc((size_t)*argc + 1, sizeof(*utf8));
	bool good = wide && utf8;

	for (int i = 0; good && i < *argc; i++)
		good = (utf8[i] = utf8_of(wide[i]));
	LocalFree((HLOCAL)wide);
	*argv = utf8;
	return good;
}

bool process_prepare(int *argc, char ***argv)
{
	_setmode(0, _O_BINARY);
	_setmode(1, _O_BINARY);
	_setmode(2, _O_BINARY);
	prepare_console();
	return decode_arguments(argc, argv);
}

void process_end_as_filter(void)
{
}

/* A pipe must not be asked: PeekNamedPipe() blocks while another thread reads. */
bool process_input_is_ready(void)
{
	return uv_guess_handle(0) == UV_FILE;
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
