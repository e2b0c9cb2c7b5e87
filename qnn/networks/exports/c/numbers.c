/* A row as numbers, as the network was trained on them. */
static inline void qnn_encode(const double values[QNN_COLUMNS], double x[QNN_FEATURES])
{
    int c, k, feature = 0;
@PLACE@
    for (c = 0; c < QNN_COLUMNS; c++) {
        double value = isnan(values[c]) ? qnn_fill[c] : values[c];
        for (k = 0; k < qnn_category_counts[c]; k++, feature++)
            x[feature] = qnn_scaled(value == k ? 1.0 : 0.0, feature@READ@);
        if (qnn_category_counts[c] == 0) {
            x[feature] = qnn_scaled(qnn_encoded(value, c), feature@READ@);
            feature++;
        }
    }
    if (QNN_BIAS)
        x[feature] = QNN_BIAS;
}

/* QNN_DIVISOR times the inner product of a neuron with a row: additions and subtractions. */
static inline double qnn_product(const uint64_t w[QNN_PLANES][QNN_WORDS],
                                 const double x[QNN_FEATURES])
{
    double sum = 0.0;
    int p, k;

    for (p = 0; p < QNN_PLANES; p++) {
        double plane = 0.0;
        for (k = 0; k < QNN_FEATURES; k++)
            plane += (w[p][k / 64] >> (k % 64)) & 1 ? x[k] : -x[k];
        sum += qnn_scales[p] * plane;
    }
    return sum;
}
