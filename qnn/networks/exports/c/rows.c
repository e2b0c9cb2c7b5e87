/* Read the text of column c into *value; 0 where it is no number, or missing and not allowed. */
static inline int qnn_parse(int c, const char *text, double *value)
{
    char *end;
    int first = 0, k;

    if (*text == '\0') {
        *value = qnn_category_counts[c] > 0 ? qnn_fill[c] : (double)NAN;
        return QNN_MISSING_ALLOWED;
    }
    if (qnn_category_counts[c] > 0) {
        for (k = 0; k < c; k++)
            first += qnn_category_counts[k];
        *value = -1.0;
        for (k = 0; k < qnn_category_counts[c]; k++)
            if (strcmp(text, qnn_categories[first + k]) == 0)
                *value = k;
        return 1;
    }
    *value = strtod(text, &end);
    while (*end == ' ')
        end++;
    return *end == '\0' && !isinf(*value) && (QNN_MISSING_ALLOWED || !isnan(*value));
}
