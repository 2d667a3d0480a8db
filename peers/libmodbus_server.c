/* A Modbus server on libmodbus, for the tests: TCP, or with `--serial PATH` RTU as unit 1 at 19200 baud, 8N1.
 *
 * Any unit (on TCP); four tables 0..199: holding registers hold their address, input registers 10000 more, coils are on at
 * multiples of 3, discrete inputs at even addresses. Outside the map libmodbus answers exception 2 by itself; for
 * a range inside it give `--refuse FIRST:COUNT`. `--delay-ms N` waits before each answer, and so holds up every
 * connection: one request is served at a time. `--habit UNIT:HABIT` says what a unit makes of what functions 6 and 16 write,
 * `--journal PATH` where all that arrives is written down: see README.md. Prints `PORT n` first (0: a serial port); ends when standard input closes.
 *
 * Build: cc libmodbus_server.c -I/usr/include/modbus -lmodbus
 */
#include <errno.h>
#include <modbus.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SIZE = 200, MAX_CONNECTIONS = 64, MAX_REFUSED = 16, UNITS = 256 };

/* What a unit makes of what is written to its holding registers. */
enum habit { OBEY, IGNORE, ROUND, LIMIT, LATE, HIDE, DEAD };
static const char *const habits[] = {"obey", "ignore", "round", "limit", "late", "hide", "dead"};
static struct { enum habit habit; int a, b; } units[UNITS];

/* Values on their way, with the reads that they come after; registers that are not read any more. */
static struct { int is_coming, left, is_hidden; uint16_t value; } places[SIZE];

static FILE *journal = NULL;

static int refused[MAX_REFUSED][2];
static int refused_count = 0;
static int delay_ms = 0;
/* How many bytes stand before the function code. */
static int head = 7;

static void die(const char *what) {
    fprintf(stderr, "%s: %s\n", what, modbus_strerror(errno));
    exit(1);
}

/* Whether a request touches a refused range. Functions 1-4, 15, 16 and 23 count; 5, 6 and 22 touch one address. */
static int is_refused(const uint8_t *query) {
    int function = query[head];
    int first = query[head + 1] << 8 | query[head + 2];
    int count = query[head + 3] << 8 | query[head + 4];
    if (function == 5 || function == 6 || function == 22) count = 1;
    for (int i = 0; i < refused_count; i++)
        if (first < refused[i][0] + refused[i][1] && refused[i][0] < first + count) return 1;
    return 0;
}

/* Takes UNIT:HABIT, such as "3:limit:0:600". */
static int set_habit(const char *text) {
    char name[16];
    int unit, a = 0, b = 0;
    if (sscanf(text, "%d:%15[a-z]:%d:%d", &unit, name, &a, &b) < 2 || unit < 0 || unit >= UNITS) return 0;
    for (int habit = OBEY; habit <= DEAD; habit++) {
        if (strcmp(name, habits[habit]) != 0) continue;
        units[unit].habit = (enum habit)habit;
        units[unit].a = a;
        units[unit].b = b;
        return 1;
    }
    return 0;
}

/* Writes down what arrives: a connection as C, a request as R or W, unit, function, address. */
static void note(const uint8_t *query) {
    if (!journal) return;
    if (!query) {
        fputs("C\n", journal);
    } else {
        int function = query[head];
        int writes = function == 5 || function == 6 || function == 15 || function == 16 || function == 22 || function == 23;
        fprintf(journal, "%c %d %d %d\n", writes ? 'W' : 'R', query[head - 1], function, query[head + 1] << 8 | query[head + 2]);
    }
    fflush(journal);
}

/* What a unit makes of a register that showed `shown` and was written to; `place` is within the map. */
static uint16_t written(int unit, int place, uint16_t shown, uint16_t value) {
    int a = units[unit].a, b = units[unit].b;
    switch (units[unit].habit) {
        case IGNORE: return shown;
        case ROUND: return (uint16_t)(value - value % (a > 1 ? a : 1));
        case LIMIT: return (uint16_t)(value < a ? a : value > b ? b : value);
        case LATE:
            places[place].is_coming = 1;
            places[place].left = a;
            places[place].value = value;
            return shown;
        case HIDE: places[place].is_hidden = 1; return value;
        default: return value;
    }
}

/* Answers a request as its unit's habit is. */
static int reply(modbus_t *context, modbus_mapping_t *map, const uint8_t *query, int length) {
    int unit = query[head - 1], function = query[head];
    int first = query[head + 1] << 8 | query[head + 2];
    int count = function == 6 ? 1 : query[head + 3] << 8 | query[head + 4];
    int reads = function == 3, writes = function == 6 || function == 16;
    uint16_t before[SIZE];
    if (units[unit].habit == DEAD && units[unit].a-- <= 0) return 1;
    if (first + count > SIZE || !(reads || writes)) return modbus_reply(context, query, length, map) >= 0;
    for (int i = first; reads && i < first + count; i++) {
        if (places[i].is_hidden) return modbus_reply_exception(context, query, MODBUS_EXCEPTION_SLAVE_OR_SERVER_FAILURE) >= 0;
        if (places[i].is_coming && places[i].left-- == 0) {
            places[i].is_coming = 0;
            map->tab_registers[i] = places[i].value;
        }
    }
    memcpy(before, map->tab_registers, sizeof before);
    if (modbus_reply(context, query, length, map) < 0) return 0;
    for (int i = first; writes && i < first + count; i++)
        map->tab_registers[i] = written(unit, i, before[i], map->tab_registers[i]);
    return 1;
}

/* Serves one request. Returns 0 when the connection has ended, 2 when it was not for this unit. */
static int serve_one(modbus_t *context, modbus_mapping_t *map) {
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    int length = modbus_receive(context, query);
    if (length < 0) return 0;
    if (length == 0) return 2;
    note(query);
    if (delay_ms) usleep((useconds_t)delay_ms * 1000);
    if (is_refused(query)) return modbus_reply_exception(context, query, MODBUS_EXCEPTION_ILLEGAL_DATA_ADDRESS) >= 0;
    return reply(context, map, query, length);
}

/* The same on the connection `fd`. */
static int serve(modbus_t *context, modbus_mapping_t *map, int fd) {
    modbus_set_socket(context, fd);
    return serve_one(context, map);
}

/* Serves a line until standard input closes; a frame that is none does not end it. */
static int serve_line(const char *path, modbus_mapping_t *map) {
    modbus_t *context = modbus_new_rtu(path, 19200, 'N', 8, 1);
    head = 1;
    if (!context || modbus_set_slave(context, 1) < 0 || modbus_connect(context) < 0) die(path);
    printf("PORT 0\n");
    fflush(stdout);
    struct pollfd slots[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = modbus_get_socket(context), .events = POLLIN}};
    while (poll(slots, 2, -1) >= 0 || errno == EINTR) {
        char byte;
        if (slots[0].revents && read(STDIN_FILENO, &byte, 1) <= 0) return 0;
        if (slots[1].revents & (POLLHUP | POLLERR)) return 0;
        /* After a request to another unit it waits half a second for what that one answers, and takes what comes for it. */
        if (slots[1].revents && serve_one(context, map) == 2) serve_one(context, map);
    }
    return 1;
}

static int bound_port(int listener) {
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    if (getsockname(listener, (struct sockaddr *)&address, &size) < 0) die("getsockname");
    return ntohs(address.sin_port);
}

int main(int argc, char **argv) {
    int port = 0;
    const char *line = NULL;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--port") == 0) {
            port = atoi(argv[i + 1]);
        } else if (strcmp(argv[i], "--serial") == 0) {
            line = argv[i + 1];
        } else if (strcmp(argv[i], "--delay-ms") == 0) {
            delay_ms = atoi(argv[i + 1]);
        } else if (strcmp(argv[i], "--journal") == 0) {
            if (!(journal = fopen(argv[i + 1], "a"))) die(argv[i + 1]);
        } else if (strcmp(argv[i], "--habit") == 0 && set_habit(argv[i + 1])) {
            continue;
        } else if (strcmp(argv[i], "--refuse") == 0 && refused_count < MAX_REFUSED &&
                   sscanf(argv[i + 1], "%d:%d", &refused[refused_count][0], &refused[refused_count][1]) == 2) {
            refused_count++;
        } else {
            fprintf(stderr, "unknown or wrong: %s %s (--port N, --serial PATH, --delay-ms N, --refuse FIRST:COUNT,"
                            " --habit UNIT:HABIT, --journal PATH)\n", argv[i], argv[i + 1]);
            return 2;
        }
    }

    modbus_t *context = modbus_new_tcp("127.0.0.1", port);
    modbus_mapping_t *map = modbus_mapping_new(SIZE, SIZE, SIZE, SIZE);
    if (!context || !map) die("set-up");
    for (int address = 0; address < SIZE; address++) {
        map->tab_bits[address] = address % 3 == 0;
        map->tab_input_bits[address] = address % 2 == 0;
        map->tab_registers[address] = (uint16_t)address;
        map->tab_input_registers[address] = (uint16_t)(10000 + address);
    }

    if (line) return serve_line(line, map);

    int listener = modbus_tcp_listen(context, 16);
    if (listener < 0) die("listen");
    printf("PORT %d\n", bound_port(listener));
    fflush(stdout);

    /* Slot 0 is the parent's pipe, slot 1 the listener, the rest are connections. */
    struct pollfd slots[2 + MAX_CONNECTIONS] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
    int used = 2;
    while (poll(slots, (nfds_t)used, -1) >= 0 || errno == EINTR) {
        char byte;
        if (slots[0].revents && read(STDIN_FILENO, &byte, 1) <= 0) return 0;
        for (int i = used - 1; i >= 2; i--) {
            if (slots[i].revents && !serve(context, map, slots[i].fd)) {
                close(slots[i].fd);
                slots[i] = slots[--used];
            }
        }
        if (slots[1].revents & POLLIN) {
            int fd = accept(listener, NULL, NULL);
            note(NULL);
            if (fd >= 0 && used == 2 + MAX_CONNECTIONS) close(fd);
            else if (fd >= 0) slots[used++] = (struct pollfd){.fd = fd, .events = POLLIN};
        }
    }
    return 1;
}
