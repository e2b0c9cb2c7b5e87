/* Where reading stands in the stored numbers: by width, and the power of two of the open block. */
typedef struct {
    int block, width, at[4];
    double step;
} qnn_place;

/* Begin the next block. Its power of two is multiplied up, which is exact without libm. */
static inline void qnn_open(qnn_place *place)
{
    int word = qnn_blocks[place->block++], exponent;

    place->width = (word % 4 + 4) % 4;
    place->step = 1.0;
    for (exponent = (word - place->width) / 4; exponent > 0; exponent--)
        place->step *= 2.0;
    for (; exponent < 0; exponent++)
        place->step *= 0.5;
}

/* The next number of the open block, exactly. */
static inline double qnn_next(qnn_place *place)
{
    int at = place->at[place->width]++;

    switch (place->width) {
    case 0: return place->step * qnn_numbers_8[at];
    case 1: return place->step * qnn_numbers_16[at];
    case 2: return place->step * qnn_numbers_32[at];
    default: return qnn_numbers_64[at];
    }
}
