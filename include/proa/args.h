/** Variadic macros whose arguments are all of one struct type: log fields, SQL parameters.
 *
 *  C would take a bare number or text in such a list for the first member of the struct, without a word.
 */
#ifndef PROA_ARGS_H
#define PROA_ARGS_H

/** At most so many. */
#define PROA_ARGS_MAX 64

/** Elements of an array of T behind a first one: `{{0} PROA_ARGS(struct t, ##__VA_ARGS__)}`. Each argument must be a T. */
#ifdef __cplusplus
#define PROA_ARGS(T, ...) , ##__VA_ARGS__
#else
#define PROA_ARGS(T, ...)                                                                                              \
    PROA_A_PICK(0, ##__VA_ARGS__, PROA_A64, PROA_A63, PROA_A62, PROA_A61, PROA_A60, PROA_A59, PROA_A58, PROA_A57,      \
                PROA_A56, PROA_A55, PROA_A54, PROA_A53, PROA_A52, PROA_A51, PROA_A50, PROA_A49, PROA_A48, PROA_A47,    \
                PROA_A46, PROA_A45, PROA_A44, PROA_A43, PROA_A42, PROA_A41, PROA_A40, PROA_A39, PROA_A38, PROA_A37,    \
                PROA_A36, PROA_A35, PROA_A34, PROA_A33, PROA_A32, PROA_A31, PROA_A30, PROA_A29, PROA_A28, PROA_A27,    \
                PROA_A26, PROA_A25, PROA_A24, PROA_A23, PROA_A22, PROA_A21, PROA_A20, PROA_A19, PROA_A18, PROA_A17,    \
                PROA_A16, PROA_A15, PROA_A14, PROA_A13, PROA_A12, PROA_A11, PROA_A10, PROA_A9, PROA_A8, PROA_A7,       \
                PROA_A6, PROA_A5, PROA_A4, PROA_A3, PROA_A2, PROA_A1, PROA_A0)                                         \
    (T, ##__VA_ARGS__)
#define PROA_A_PICK(_0, _1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16, _17, _18, _19, _20,     \
                    _21, _22, _23, _24, _25, _26, _27, _28, _29, _30, _31, _32, _33, _34, _35, _36, _37, _38, _39,     \
                    _40, _41, _42, _43, _44, _45, _46, _47, _48, _49, _50, _51, _52, _53, _54, _55, _56, _57, _58,     \
                    _59, _60, _61, _62, _63, _64, chosen, ...)                                                         \
    chosen
#define PROA_A_ONE(T, arg) , _Generic((arg), T : (arg)) /* another type is an error at the argument's line */
#define PROA_A0(T)
#define PROA_A1(T, x) PROA_A_ONE(T, x)
#define PROA_A2(T, x, ...) PROA_A_ONE(T, x) PROA_A1(T, __VA_ARGS__)
#define PROA_A3(T, x, ...) PROA_A_ONE(T, x) PROA_A2(T, __VA_ARGS__)
#define PROA_A4(T, x, ...) PROA_A_ONE(T, x) PROA_A3(T, __VA_ARGS__)
#define PROA_A5(T, x, ...) PROA_A_ONE(T, x) PROA_A4(T, __VA_ARGS__)
#define PROA_A6(T, x, ...) PROA_A_ONE(T, x) PROA_A5(T, __VA_ARGS__)
#define PROA_A7(T, x, ...) PROA_A_ONE(T, x) PROA_A6(T, __VA_ARGS__)
#define PROA_A8(T, x, ...) PROA_A_ONE(T, x) PROA_A7(T, __VA_ARGS__)
#define PROA_A9(T, x, ...) PROA_A_ONE(T, x) PROA_A8(T, __VA_ARGS__)
#define PROA_A10(T, x, ...) PROA_A_ONE(T, x) PROA_A9(T, __VA_ARGS__)
#define PROA_A11(T, x, ...) PROA_A_ONE(T, x) PROA_A10(T, __VA_ARGS__)
#define PROA_A12(T, x, ...) PROA_A_ONE(T, x) PROA_A11(T, __VA_ARGS__)
#define PROA_A13(T, x, ...) PROA_A_ONE(T, x) PROA_A12(T, __VA_ARGS__)
#define PROA_A14(T, x, ...) PROA_A_ONE(T, x) PROA_A13(T, __VA_ARGS__)
#define PROA_A15(T, x, ...) PROA_A_ONE(T, x) PROA_A14(T, __VA_ARGS__)
#define PROA_A16(T, x, ...) PROA_A_ONE(T, x) PROA_A15(T, __VA_ARGS__)
#define PROA_A17(T, x, ...) PROA_A_ONE(T, x) PROA_A16(T, __VA_ARGS__)
#define PROA_A18(T, x, ...) PROA_A_ONE(T, x) PROA_A17(T, __VA_ARGS__)
#define PROA_A19(T, x, ...) PROA_A_ONE(T, x) PROA_A18(T, __VA_ARGS__)
#define PROA_A20(T, x, ...) PROA_A_ONE(T, x) PROA_A19(T, __VA_ARGS__)
#define PROA_A21(T, x, ...) PROA_A_ONE(T, x) PROA_A20(T, __VA_ARGS__)
#define PROA_A22(T, x, ...) PROA_A_ONE(T, x) PROA_A21(T, __VA_ARGS__)
#define PROA_A23(T, x, ...) PROA_A_ONE(T, x) PROA_A22(T, __VA_ARGS__)
#define PROA_A24(T, x, ...) PROA_A_ONE(T, x) PROA_A23(T, __VA_ARGS__)
#define PROA_A25(T, x, ...) PROA_A_ONE(T, x) PROA_A24(T, __VA_ARGS__)
#define PROA_A26(T, x, ...) PROA_A_ONE(T, x) PROA_A25(T, __VA_ARGS__)
#define PROA_A27(T, x, ...) PROA_A_ONE(T, x) PROA_A26(T, __VA_ARGS__)
#define PROA_A28(T, x, ...) PROA_A_ONE(T, x) PROA_A27(T, __VA_ARGS__)
#define PROA_A29(T, x, ...) PROA_A_ONE(T, x) PROA_A28(T, __VA_ARGS__)
#define PROA_A30(T, x, ...) PROA_A_ONE(T, x) PROA_A29(T, __VA_ARGS__)
#define PROA_A31(T, x, ...) PROA_A_ONE(T, x) PROA_A30(T, __VA_ARGS__)
#define PROA_A32(T, x, ...) PROA_A_ONE(T, x) PROA_A31(T, __VA_ARGS__)
#define PROA_A33(T, x, ...) PROA_A_ONE(T, x) PROA_A32(T, __VA_ARGS__)
#define PROA_A34(T, x, ...) PROA_A_ONE(T, x) PROA_A33(T, __VA_ARGS__)
#define PROA_A35(T, x, ...) PROA_A_ONE(T, x) PROA_A34(T, __VA_ARGS__)
#define PROA_A36(T, x, ...) PROA_A_ONE(T, x) PROA_A35(T, __VA_ARGS__)
#define PROA_A37(T, x, ...) PROA_A_ONE(T, x) PROA_A36(T, __VA_ARGS__)
#define PROA_A38(T, x, ...) PROA_A_ONE(T, x) PROA_A37(T, __VA_ARGS__)
#define PROA_A39(T, x, ...) PROA_A_ONE(T, x) PROA_A38(T, __VA_ARGS__)
#define PROA_A40(T, x, ...) PROA_A_ONE(T, x) PROA_A39(T, __VA_ARGS__)
#define PROA_A41(T, x, ...) PROA_A_ONE(T, x) PROA_A40(T, __VA_ARGS__)
#define PROA_A42(T, x, ...) PROA_A_ONE(T, x) PROA_A41(T, __VA_ARGS__)
#define PROA_A43(T, x, ...) PROA_A_ONE(T, x) PROA_A42(T, __VA_ARGS__)
#define PROA_A44(T, x, ...) PROA_A_ONE(T, x) PROA_A43(T, __VA_ARGS__)
#define PROA_A45(T, x, ...) PROA_A_ONE(T, x) PROA_A44(T, __VA_ARGS__)
#define PROA_A46(T, x, ...) PROA_A_ONE(T, x) PROA_A45(T, __VA_ARGS__)
#define PROA_A47(T, x, ...) PROA_A_ONE(T, x) PROA_A46(T, __VA_ARGS__)
#define PROA_A48(T, x, ...) PROA_A_ONE(T, x) PROA_A47(T, __VA_ARGS__)
#define PROA_A49(T, x, ...) PROA_A_ONE(T, x) PROA_A48(T, __VA_ARGS__)
#define PROA_A50(T, x, ...) PROA_A_ONE(T, x) PROA_A49(T, __VA_ARGS__)
#define PROA_A51(T, x, ...) PROA_A_ONE(T, x) PROA_A50(T, __VA_ARGS__)
#define PROA_A52(T, x, ...) PROA_A_ONE(T, x) PROA_A51(T, __VA_ARGS__)
#define PROA_A53(T, x, ...) PROA_A_ONE(T, x) PROA_A52(T, __VA_ARGS__)
#define PROA_A54(T, x, ...) PROA_A_ONE(T, x) PROA_A53(T, __VA_ARGS__)
#define PROA_A55(T, x, ...) PROA_A_ONE(T, x) PROA_A54(T, __VA_ARGS__)
#define PROA_A56(T, x, ...) PROA_A_ONE(T, x) PROA_A55(T, __VA_ARGS__)
#define PROA_A57(T, x, ...) PROA_A_ONE(T, x) PROA_A56(T, __VA_ARGS__)
#define PROA_A58(T, x, ...) PROA_A_ONE(T, x) PROA_A57(T, __VA_ARGS__)
#define PROA_A59(T, x, ...) PROA_A_ONE(T, x) PROA_A58(T, __VA_ARGS__)
#define PROA_A60(T, x, ...) PROA_A_ONE(T, x) PROA_A59(T, __VA_ARGS__)
#define PROA_A61(T, x, ...) PROA_A_ONE(T, x) PROA_A60(T, __VA_ARGS__)
#define PROA_A62(T, x, ...) PROA_A_ONE(T, x) PROA_A61(T, __VA_ARGS__)
#define PROA_A63(T, x, ...) PROA_A_ONE(T, x) PROA_A62(T, __VA_ARGS__)
#define PROA_A64(T, x, ...) PROA_A_ONE(T, x) PROA_A63(T, __VA_ARGS__)
#endif

#endif
