#pragma once

/*
 * State machines written down as data: a table of states, and of the states that may follow each.
 *
 * An object keeps its state as a number, which is an index into its table. Its initialization sets
 * the first state; after that, states_move() is the only way to change it. A transition that the
 * table does not allow is a defect of the program, never of a peer, so it ends the program in
 * builds with assertions. The owner of the state also has a function x_check_invariant(), which
 * asserts what holds in each state.
 */

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#define STATES_BIT(state) (1u << (state))

struct state_row {
	const char *name; /* for debuggers and failed tests */
	uint32_t next;	  /* STATES_BIT() of each state that may follow */
};

/* Changes *@state to @next, which @table must allow. */
static inline void states_move(const struct state_row *table, uint8_t *state, uint8_t next)
{
	assert(table[*state].next & STATES_BIT(next));
	*state = next;
}

/* Returns whether @state is one of @set, which consists of STATES_BIT(). */
static inline bool states_in(uint8_t state, uint32_t set)
{
	return (STATES_BIT(state) & set) != 0;
}
