static inline void qnn_set(uint64_t x[QNN_WORDS], int feature, int above)
{
    if (above)
        x[feature / 64] |= UINT64_C(1) << (feature % 64);
}

/* A row as bits: set for +1, clear for -1. */
static inline void qnn_encode(const double values[QNN_COLUMNS], uint64_t x[QNN_WORDS])
{
    int c, k, feature = 0@COUNTER@;
@PLACE@
    memset(x, 0, QNN_WORDS * sizeof x[0]);
    for (c = 0; c < QNN_COLUMNS; c++) {
        double value = isnan(values[c]) ? qnn_fill[c] : values[c];
        for (k = 0; k < qnn_category_counts[c]; k++)
            qnn_set(x, feature++, value == k);
@OPEN@        for (k = 0; k < qnn_levels[c]; k++)
            qnn_set(x, feature++, value >= @THRESHOLD@);
    }
    if (QNN_BIAS)
        qnn_set(x, feature, 1);
}

static inline int qnn_popcount(uint64_t word)
{
    word -= (word >> 1) & UINT64_C(0x5555555555555555);
    word = (word & UINT64_C(0x3333333333333333)) + ((word >> 2) & UINT64_C(0x3333333333333333));
    word = (word + (word >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (int)((word * UINT64_C(0x0101010101010101)) >> 56);
}

/* QNN_DIVISOR times the inner product of a neuron's weights with a row: an exact integer. The
   last feature, the constant, counts QNN_BIAS times. */
static inline int64_t qnn_product(const uint64_t w[QNN_PLANES][QNN_WORDS],
                                  const uint64_t x[QNN_WORDS])
{
    int64_t sum = 0;
    int p, k;

    for (p = 0; p < QNN_PLANES; p++) {
        int differ = 0, more = 0;
        for (k = 0; k < QNN_WORDS; k++)
            differ += qnn_popcount(w[p][k] ^ x[k]);
        if (QNN_BIAS > 1)
            more = w[p][QNN_WORDS - 1] >> (QNN_FEATURES - 1) % 64 & 1 ? QNN_BIAS - 1 : 1 - QNN_BIAS;
        sum += qnn_scales[p] * (int64_t)(QNN_FEATURES - 2 * differ + more);
    }
    return sum;
}
