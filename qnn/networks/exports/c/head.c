/*
 * A quantized network, written by qnn-sdp. C99, no dependencies: include it and call
 *
 *     double values[QNN_COLUMNS];
 *     for each column c: if (!qnn_parse(c, text, &values[c])) ... the text cannot be read
 *     double score = qnn_score(values);
 *     qnn_label(score) where QNN_CLASSES is 2, qnn_number(score) where it is 0
 *
 * or, where QNN_OUTPUTS is defined, because there are several scores,
 *
 *     double scores[QNN_OUTPUTS];
 *     qnn_scores(values, scores);
 *     qnn_label(scores) where QNN_CLASSES is not 0, qnn_number(scores[c], c) where it is
 *
 * values[c] is the number in column c, NaN where it is missing, or the index of its category, -1
 * where that was never seen in training. Columns stand in the order of qnn_column_names.
 */
#ifndef QNN_NETWORK_H
#define QNN_NETWORK_H

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
