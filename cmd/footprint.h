/* footprint: what the server keeps of the machine's memory while nobody asks it anything. */
#ifndef SKIFF_CMD_FOOTPRINT_H
#define SKIFF_CMD_FOOTPRINT_H

/* Before any thread starts: as many open files as the machine allows, and a heap that gives back. */
void footprint_prepare(void);

/* Every few seconds, on one thread: gives back what a burst of requests, and the start itself, left behind. */
#define FOOTPRINT_EVERY_S 3
void footprint_shrink(void);

#endif
