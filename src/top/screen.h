/* Private to the top room: the terminal. */
#ifndef WEIR_TOP_SCREEN_H
#define WEIR_TOP_SCREEN_H

#include "watch.h"

/* False: this is no terminal that can be drawn on. */
bool screen_open(void);
void screen_close(void);
/* KEY_OF_NONE when no key is left; a changed size is taken note of meanwhile. */
int screen_key(void);
void screen_draw(struct watch *watch, weir_usec now);

#endif
