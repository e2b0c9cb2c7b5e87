static inline double qnn_encoded(double value, int c)
{
    (void)c;
    return value;
}
