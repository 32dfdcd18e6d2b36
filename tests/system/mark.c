/* mark FILE JOB MILLISECONDS [ignore]: a job that shows that it is alive. About every 2 ms it appends a line
 *
 *     NANOSECONDS HOST JOB RUN B|b|E TOKEN
 *
 * with CLOCK_BOOTTIME, which all hosts of a check have in common, B for the first line of a run and E for its last. RUN
 * is when the kernel made the process (proc(5), starttime), however long it was frozen before its first line; process ids
 * are not unique across namespaces. With `ignore` it ignores SIGTERM. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* In nanoseconds, but only as exact as a clock tick. */
static long long started(void)
{
    char text[1024] = "", *field;
    unsigned long long ticks = 0;
    FILE *file = fopen("/proc/self/stat", "r");

    if (file && fgets(text, sizeof text, file) && (field = strrchr(text, ')')))
        /* The name in parentheses is the second field, this one the 22nd. */
        sscanf(field + 1, " %*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu", &ticks);
    if (file)
        fclose(file);
    return ticks * (1000000000LL / sysconf(_SC_CLK_TCK));
}

int main(int count, char **words)
{
    char host[65] = "";
    const char *token = getenv("BUILDD_SEQUENCER_TOKEN");
    struct timespec beat = {0, 2000000};
    long long began = now(), run = started();
    int file;

    if (count < 4)
        return 2;
    if (count > 4 && !strcmp(words[4], "ignore"))
        signal(SIGTERM, SIG_IGN);
    gethostname(host, sizeof host - 1);
    file = open(words[1], O_WRONLY | O_APPEND | O_CREAT, 0666);
    if (file < 0)
        return 1;
    for (char kind = 'B'; kind; ) {
        char line[256];
        long long at = now();
        int over = (at - began) / 1000000 >= atoll(words[3]);

        if (over && kind == 'b')
            kind = 'E';
        snprintf(line, sizeof line, "%lld %s %s %lld %c %s\n", at, host, words[2], run, kind, token ? token : "-");
        if (write(file, line, strlen(line)) < 0)
            return 1;
        if (kind == 'E')
            return 0;
        kind = 'b';
        nanosleep(&beat, NULL);
    }
}
