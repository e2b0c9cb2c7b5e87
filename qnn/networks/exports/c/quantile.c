static inline double qnn_encoded(double value, int c)
{
    int left = qnn_table_starts[c], last = qnn_table_starts[c + 1] - 1;

    if (value < qnn_knots[left])
        value = qnn_knots[left];
    if (value > qnn_knots[last])
        value = qnn_knots[last];
    while (left < last && value >= qnn_knots[left + 1])
        left++;
    return qnn_normal_scores[left] + (value - qnn_knots[left]) * qnn_slopes[left];
}
