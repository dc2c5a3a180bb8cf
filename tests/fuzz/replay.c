/*
 * The main() of fuzz targets without libFuzzer: runs every file of the named directories, and every
 * named file, through the target once. Options of libFuzzer are ignored, so that both kinds of
 * executable accept the same command line.
 */

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool replay_stream(FILE *file, size_t size)
{
	/* The exact allocation size lets the address sanitizer detect accesses past the end. */
	uint8_t *data = malloc(size ? size : 1);
	bool read = data && fread(data, 1, size, file) == size;

	if (read)
		LLVMFuzzerTestOneInput(data, size);
	free(data);
	return read;
}

/* Returns the number of inputs run, or -1 if one could not be read. */
static int replay_file(const char *path, const struct stat *st)
{
	FILE *file = fopen(path, "rb");
	bool done = file && replay_stream(file, (size_t)st->st_size);

	if (!done)
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	if (file)
		fclose(file);
	return done ? 1 : -1;
}

static int replay(const char *path);

static int replay_directory(const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	int total = 0;

	if (!directory) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	while (total >= 0 && (entry = readdir(directory))) {
		char *name;
		int n;

		if (entry->d_name[0] == '.')
			continue;
		if (asprintf(&name, "%s/%s", path, entry->d_name) < 0)
			abort();
		n = replay(name);
		total = n < 0 ? n : total + n;
		free(name);
	}
	closedir(directory);
	return total;
}

static int replay(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	return S_ISDIR(st.st_mode) ? replay_directory(path) : replay_file(path, &st);
}

int main(int argc, char **argv)
{
	int total = 0;

	for (int i = 1; i < argc; i++) {
		int n = argv[i][0] == '-' ? 0 : replay(argv[i]);

		if (n < 0)
			return EXIT_FAILURE;
		total += n;
	}
	printf("%d inputs replayed\n", total);
	return total ? EXIT_SUCCESS : EXIT_FAILURE;
}
