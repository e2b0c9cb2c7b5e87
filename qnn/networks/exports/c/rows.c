/* Whether text says that a value is missing. */
static inline int qnn_is_missing(const char *text)
{
    int k;

    for (k = 0; k < QNN_MISSING_WORDS; k++)
        if (strcmp(text, qnn_missing_words[k]) == 0)
            return 1;
    return 0;
}

/*
 * Read the text of column c into *value: 1, or 2 for a category that was not seen in training,
 * which is none of those known; 0 where it is no number, or missing and not allowed.
 */
static inline int qnn_parse(int c, const char *text, double *value)
{
    char *end;
    int first = 0, k;

    if (qnn_category_counts[c] > 0) {
        for (k = 0; k < c; k++)
            first += qnn_category_counts[k];
        for (k = 0; k < qnn_category_counts[c]; k++)
            if (strcmp(text, qnn_categories[first + k]) == 0) {
                *value = k;
                return 1;
            }
    }
    if (qnn_is_missing(text)) {
        *value = qnn_category_counts[c] > 0 ? qnn_fill[c] : (double)NAN;
        return QNN_MISSING_ALLOWED;
    }
    if (qnn_category_counts[c] > 0) {
        *value = -1.0;
        return 2;
    }
    *value = strtod(text, &end);
    /* What stands for a number in C alone: a blank cell would be 0, 0x10 is 16, nan(1) a NaN. */
    if (end == text || strpbrk(text, "xX(") != NULL)
        return 0;
    end += strspn(end, " \t\n\v\f\r");
    return *end == '\0' && !isinf(*value) && (QNN_MISSING_ALLOWED || !isnan(*value));
}
