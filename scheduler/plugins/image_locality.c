#include "scheduler/cycle.h"

const struct plugin plugin_image_locality = {.name = "ImageLocality"};
