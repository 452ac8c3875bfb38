/* fairness: seats for requests that run, as counters: so many that read, so many that write. */
#ifndef SKIFF_API_CHAIN_FAIRNESS_H
#define SKIFF_API_CHAIN_FAIRNESS_H

#include <stdbool.h>

#define FAIRNESS_READ_SEATS 4000
#define FAIRNESS_WRITE_SEATS 4000

bool fairness_enter(bool mutating); /* false: full, the client is told to try again */
void fairness_leave(bool mutating);
int fairness_in_flight(bool mutating);

#endif
