/** The machinery behind PROA_DESCRIBE; nothing here is for direct use. */
#ifndef PROA_TYPE_MACROS_H
#define PROA_TYPE_MACROS_H

#define PROA_M_UNWRAP(...) __VA_ARGS__
#define PROA_M_CAT(a, b) PROA_M_CAT_(a, b)
#define PROA_M_CAT_(a, b) a##b

/* For each kind: PROA_K_ gives the initialisers, PROA_T_ the C type of one value, PROA_P_ the way from the
 * member to one value, PROA_E_ to one element, PROA_V_ to the value of an optional member. */
#define PROA_K_boolean .kind = PROA_BOOLEAN
#define PROA_T_boolean bool
#define PROA_P_boolean
#define PROA_E_boolean
#define PROA_V_boolean
#define PROA_K_i8 .kind = PROA_I8
#define PROA_T_i8 int8_t
#define PROA_P_i8
#define PROA_E_i8
#define PROA_V_i8
#define PROA_K_i16 .kind = PROA_I16
#define PROA_T_i16 int16_t
#define PROA_P_i16
#define PROA_E_i16
#define PROA_V_i16
#define PROA_K_i32 .kind = PROA_I32
#define PROA_T_i32 int32_t
#define PROA_P_i32
#define PROA_E_i32
#define PROA_V_i32
#define PROA_K_i64 .kind = PROA_I64
#define PROA_T_i64 int64_t
#define PROA_P_i64
#define PROA_E_i64
#define PROA_V_i64
#define PROA_K_u8 .kind = PROA_U8
#define PROA_T_u8 uint8_t
#define PROA_P_u8
#define PROA_E_u8
#define PROA_V_u8
#define PROA_K_u16 .kind = PROA_U16
#define PROA_T_u16 uint16_t
#define PROA_P_u16
#define PROA_E_u16
#define PROA_V_u16
#define PROA_K_u32 .kind = PROA_U32
#define PROA_T_u32 uint32_t
#define PROA_P_u32
#define PROA_E_u32
#define PROA_V_u32
#define PROA_K_u64 .kind = PROA_U64
#define PROA_T_u64 uint64_t
#define PROA_P_u64
#define PROA_E_u64
#define PROA_V_u64
#define PROA_K_f64 .kind = PROA_F64
#define PROA_T_f64 double
#define PROA_P_f64
#define PROA_E_f64
#define PROA_V_f64
#define PROA_K_str .kind = PROA_TEXT
#define PROA_T_str proa_str
#define PROA_P_str
#define PROA_E_str
#define PROA_V_str
#define PROA_K_raw .kind = PROA_RAW
#define PROA_T_raw proa_str
#define PROA_P_raw
#define PROA_E_raw
#define PROA_V_raw
#define PROA_K_bytes .kind = PROA_BYTES
#define PROA_T_bytes proa_str
#define PROA_P_bytes
#define PROA_E_bytes
#define PROA_V_bytes
#define PROA_K_timestamp .kind = PROA_TIMESTAMP
#define PROA_T_timestamp proa_time_ns
#define PROA_P_timestamp
#define PROA_E_timestamp
#define PROA_V_timestamp
#define PROA_K_duration .kind = PROA_DURATION
#define PROA_T_duration struct proa_duration
#define PROA_P_duration
#define PROA_E_duration
#define PROA_V_duration
#define PROA_K_quantity .kind = PROA_QUANTITY
#define PROA_T_quantity struct proa_quantity
#define PROA_P_quantity
#define PROA_E_quantity
#define PROA_V_quantity
#define PROA_K_object(name) .kind = PROA_OBJECT, .type = &name##_type.type
#define PROA_T_object(name) __typeof__(*name##_type.self_)
#define PROA_P_object(name)
#define PROA_E_object(name)
#define PROA_V_object(name)
#define PROA_K_enumeration(name_) .kind = PROA_ENUMERATION, .names = &name_##_enum
#define PROA_T_enumeration(name_) enum name_
#define PROA_P_enumeration(name_)
#define PROA_E_enumeration(name_)
#define PROA_V_enumeration(name_)
#define PROA_K_array(kind_) .container = PROA_LIST, PROA_K_##kind_
#define PROA_T_array(kind_) PROA_T_##kind_
#define PROA_P_array(kind_) .ptr[0]
#define PROA_E_array(kind_) .ptr[0]
#define PROA_V_array(kind_)
#define PROA_K_map(kind_) .container = PROA_DICTIONARY, PROA_K_##kind_
#define PROA_T_map(kind_) PROA_T_##kind_
#define PROA_P_map(kind_) .ptr[0].value
#define PROA_E_map(kind_) .ptr[0]
#define PROA_V_map(kind_)
#define PROA_K_optional(kind_) .optional = true, PROA_K_##kind_
#define PROA_T_optional(kind_) PROA_T_##kind_
#define PROA_P_optional(kind_) .value PROA_P_##kind_
#define PROA_E_optional(kind_) .value PROA_E_##kind_
#define PROA_V_optional(kind_) .value

#define PROA_M_ASSERT(condition, text)                                                                                 \
    (0 * sizeof(struct {                                                                                               \
         int unused_;                                                                                                  \
         _Static_assert(condition, text);                                                                              \
     }))

#define PROA_M_FIELD(T, entry) PROA_M_FIELD_(T, PROA_M_UNWRAP entry)
#define PROA_M_FIELD_(...) PROA_M_FIELD__(__VA_ARGS__)
#define PROA_M_FIELD__(T, member_, ...) PROA_M_FIELD___(T, member_, __VA_ARGS__, )
#define PROA_M_FIELD___(T, member_, kind_, ...)                                                                        \
    {                                                                                                                  \
        .member = {#member_, sizeof(#member_) - 1},                                                                    \
        .offset =                                                                                                      \
            offsetof(T, member_) +                                                                                     \
            PROA_M_ASSERT(__builtin_types_compatible_p(__typeof__(((T *)0)->member_ PROA_P_##kind_), PROA_T_##kind_),  \
                          "member `" #member_ "` does not have the C type of its kind"),                               \
        .value_offset = offsetof(T, member_ PROA_V_##kind_), .size = sizeof(((T *)0)->member_ PROA_P_##kind_),         \
        .stride = sizeof(((T *)0)->member_ PROA_E_##kind_), .pattern_once = &(struct proa_pattern_once){0},            \
        PROA_K_##kind_, __VA_ARGS__                                                                                    \
    }
#define PROA_M_VALUE(entry) PROA_M_VALUE_ entry
#define PROA_M_VALUE_(value, text)                                                                                     \
    {                                                                                                                  \
        value,                                                                                                         \
        {                                                                                                              \
            text, sizeof(text) - 1                                                                                     \
        }                                                                                                              \
    }

#define PROA_M_PICK(_1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16, _17, _18, _19, _20, _21,    \
                    _22, _23, _24, _25, _26, _27, _28, _29, _30, _31, _32, _33, _34, _35, _36, _37, _38, _39, _40,     \
                    _41, _42, _43, _44, _45, _46, _47, _48, _49, _50, _51, _52, _53, _54, _55, _56, _57, _58, _59,     \
                    _60, _61, _62, _63, _64, chosen, ...)                                                              \
    chosen
#define PROA_M_EACH(T, ...)                                                                                            \
    PROA_M_PICK(__VA_ARGS__, PROA_M_F64, PROA_M_F63, PROA_M_F62, PROA_M_F61, PROA_M_F60, PROA_M_F59, PROA_M_F58,       \
                PROA_M_F57, PROA_M_F56, PROA_M_F55, PROA_M_F54, PROA_M_F53, PROA_M_F52, PROA_M_F51, PROA_M_F50,        \
                PROA_M_F49, PROA_M_F48, PROA_M_F47, PROA_M_F46, PROA_M_F45, PROA_M_F44, PROA_M_F43, PROA_M_F42,        \
                PROA_M_F41, PROA_M_F40, PROA_M_F39, PROA_M_F38, PROA_M_F37, PROA_M_F36, PROA_M_F35, PROA_M_F34,        \
                PROA_M_F33, PROA_M_F32, PROA_M_F31, PROA_M_F30, PROA_M_F29, PROA_M_F28, PROA_M_F27, PROA_M_F26,        \
                PROA_M_F25, PROA_M_F24, PROA_M_F23, PROA_M_F22, PROA_M_F21, PROA_M_F20, PROA_M_F19, PROA_M_F18,        \
                PROA_M_F17, PROA_M_F16, PROA_M_F15, PROA_M_F14, PROA_M_F13, PROA_M_F12, PROA_M_F11, PROA_M_F10,        \
                PROA_M_F9, PROA_M_F8, PROA_M_F7, PROA_M_F6, PROA_M_F5, PROA_M_F4, PROA_M_F3, PROA_M_F2, PROA_M_F1, )   \
    (T, __VA_ARGS__)
#define PROA_M_EACH_VALUE(...)                                                                                         \
    PROA_M_PICK(__VA_ARGS__, PROA_M_E64, PROA_M_E63, PROA_M_E62, PROA_M_E61, PROA_M_E60, PROA_M_E59, PROA_M_E58,       \
                PROA_M_E57, PROA_M_E56, PROA_M_E55, PROA_M_E54, PROA_M_E53, PROA_M_E52, PROA_M_E51, PROA_M_E50,        \
                PROA_M_E49, PROA_M_E48, PROA_M_E47, PROA_M_E46, PROA_M_E45, PROA_M_E44, PROA_M_E43, PROA_M_E42,        \
                PROA_M_E41, PROA_M_E40, PROA_M_E39, PROA_M_E38, PROA_M_E37, PROA_M_E36, PROA_M_E35, PROA_M_E34,        \
                PROA_M_E33, PROA_M_E32, PROA_M_E31, PROA_M_E30, PROA_M_E29, PROA_M_E28, PROA_M_E27, PROA_M_E26,        \
                PROA_M_E25, PROA_M_E24, PROA_M_E23, PROA_M_E22, PROA_M_E21, PROA_M_E20, PROA_M_E19, PROA_M_E18,        \
                PROA_M_E17, PROA_M_E16, PROA_M_E15, PROA_M_E14, PROA_M_E13, PROA_M_E12, PROA_M_E11, PROA_M_E10,        \
                PROA_M_E9, PROA_M_E8, PROA_M_E7, PROA_M_E6, PROA_M_E5, PROA_M_E4, PROA_M_E3, PROA_M_E2, PROA_M_E1, )   \
    (__VA_ARGS__)
#define PROA_M_F1(T, x) PROA_M_FIELD(T, x)
#define PROA_M_E1(x) PROA_M_VALUE(x)
#define PROA_M_F2(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F1(T, __VA_ARGS__)
#define PROA_M_E2(x, ...) PROA_M_VALUE(x), PROA_M_E1(__VA_ARGS__)
#define PROA_M_F3(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F2(T, __VA_ARGS__)
#define PROA_M_E3(x, ...) PROA_M_VALUE(x), PROA_M_E2(__VA_ARGS__)
#define PROA_M_F4(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F3(T, __VA_ARGS__)
#define PROA_M_E4(x, ...) PROA_M_VALUE(x), PROA_M_E3(__VA_ARGS__)
#define PROA_M_F5(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F4(T, __VA_ARGS__)
#define PROA_M_E5(x, ...) PROA_M_VALUE(x), PROA_M_E4(__VA_ARGS__)
#define PROA_M_F6(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F5(T, __VA_ARGS__)
#define PROA_M_E6(x, ...) PROA_M_VALUE(x), PROA_M_E5(__VA_ARGS__)
#define PROA_M_F7(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F6(T, __VA_ARGS__)
#define PROA_M_E7(x, ...) PROA_M_VALUE(x), PROA_M_E6(__VA_ARGS__)
#define PROA_M_F8(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F7(T, __VA_ARGS__)
#define PROA_M_E8(x, ...) PROA_M_VALUE(x), PROA_M_E7(__VA_ARGS__)
#define PROA_M_F9(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F8(T, __VA_ARGS__)
#define PROA_M_E9(x, ...) PROA_M_VALUE(x), PROA_M_E8(__VA_ARGS__)
#define PROA_M_F10(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F9(T, __VA_ARGS__)
#define PROA_M_E10(x, ...) PROA_M_VALUE(x), PROA_M_E9(__VA_ARGS__)
#define PROA_M_F11(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F10(T, __VA_ARGS__)
#define PROA_M_E11(x, ...) PROA_M_VALUE(x), PROA_M_E10(__VA_ARGS__)
#define PROA_M_F12(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F11(T, __VA_ARGS__)
#define PROA_M_E12(x, ...) PROA_M_VALUE(x), PROA_M_E11(__VA_ARGS__)
#define PROA_M_F13(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F12(T, __VA_ARGS__)
#define PROA_M_E13(x, ...) PROA_M_VALUE(x), PROA_M_E12(__VA_ARGS__)
#define PROA_M_F14(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F13(T, __VA_ARGS__)
#define PROA_M_E14(x, ...) PROA_M_VALUE(x), PROA_M_E13(__VA_ARGS__)
#define PROA_M_F15(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F14(T, __VA_ARGS__)
#define PROA_M_E15(x, ...) PROA_M_VALUE(x), PROA_M_E14(__VA_ARGS__)
#define PROA_M_F16(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F15(T, __VA_ARGS__)
#define PROA_M_E16(x, ...) PROA_M_VALUE(x), PROA_M_E15(__VA_ARGS__)
#define PROA_M_F17(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F16(T, __VA_ARGS__)
#define PROA_M_E17(x, ...) PROA_M_VALUE(x), PROA_M_E16(__VA_ARGS__)
#define PROA_M_F18(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F17(T, __VA_ARGS__)
#define PROA_M_E18(x, ...) PROA_M_VALUE(x), PROA_M_E17(__VA_ARGS__)
#define PROA_M_F19(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F18(T, __VA_ARGS__)
#define PROA_M_E19(x, ...) PROA_M_VALUE(x), PROA_M_E18(__VA_ARGS__)
#define PROA_M_F20(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F19(T, __VA_ARGS__)
#define PROA_M_E20(x, ...) PROA_M_VALUE(x), PROA_M_E19(__VA_ARGS__)
#define PROA_M_F21(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F20(T, __VA_ARGS__)
#define PROA_M_E21(x, ...) PROA_M_VALUE(x), PROA_M_E20(__VA_ARGS__)
#define PROA_M_F22(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F21(T, __VA_ARGS__)
#define PROA_M_E22(x, ...) PROA_M_VALUE(x), PROA_M_E21(__VA_ARGS__)
#define PROA_M_F23(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F22(T, __VA_ARGS__)
#define PROA_M_E23(x, ...) PROA_M_VALUE(x), PROA_M_E22(__VA_ARGS__)
#define PROA_M_F24(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F23(T, __VA_ARGS__)
#define PROA_M_E24(x, ...) PROA_M_VALUE(x), PROA_M_E23(__VA_ARGS__)
#define PROA_M_F25(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F24(T, __VA_ARGS__)
#define PROA_M_E25(x, ...) PROA_M_VALUE(x), PROA_M_E24(__VA_ARGS__)
#define PROA_M_F26(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F25(T, __VA_ARGS__)
#define PROA_M_E26(x, ...) PROA_M_VALUE(x), PROA_M_E25(__VA_ARGS__)
#define PROA_M_F27(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F26(T, __VA_ARGS__)
#define PROA_M_E27(x, ...) PROA_M_VALUE(x), PROA_M_E26(__VA_ARGS__)
#define PROA_M_F28(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F27(T, __VA_ARGS__)
#define PROA_M_E28(x, ...) PROA_M_VALUE(x), PROA_M_E27(__VA_ARGS__)
#define PROA_M_F29(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F28(T, __VA_ARGS__)
#define PROA_M_E29(x, ...) PROA_M_VALUE(x), PROA_M_E28(__VA_ARGS__)
#define PROA_M_F30(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F29(T, __VA_ARGS__)
#define PROA_M_E30(x, ...) PROA_M_VALUE(x), PROA_M_E29(__VA_ARGS__)
#define PROA_M_F31(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F30(T, __VA_ARGS__)
#define PROA_M_E31(x, ...) PROA_M_VALUE(x), PROA_M_E30(__VA_ARGS__)
#define PROA_M_F32(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F31(T, __VA_ARGS__)
#define PROA_M_E32(x, ...) PROA_M_VALUE(x), PROA_M_E31(__VA_ARGS__)
#define PROA_M_F33(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F32(T, __VA_ARGS__)
#define PROA_M_E33(x, ...) PROA_M_VALUE(x), PROA_M_E32(__VA_ARGS__)
#define PROA_M_F34(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F33(T, __VA_ARGS__)
#define PROA_M_E34(x, ...) PROA_M_VALUE(x), PROA_M_E33(__VA_ARGS__)
#define PROA_M_F35(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F34(T, __VA_ARGS__)
#define PROA_M_E35(x, ...) PROA_M_VALUE(x), PROA_M_E34(__VA_ARGS__)
#define PROA_M_F36(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F35(T, __VA_ARGS__)
#define PROA_M_E36(x, ...) PROA_M_VALUE(x), PROA_M_E35(__VA_ARGS__)
#define PROA_M_F37(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F36(T, __VA_ARGS__)
#define PROA_M_E37(x, ...) PROA_M_VALUE(x), PROA_M_E36(__VA_ARGS__)
#define PROA_M_F38(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F37(T, __VA_ARGS__)
#define PROA_M_E38(x, ...) PROA_M_VALUE(x), PROA_M_E37(__VA_ARGS__)
#define PROA_M_F39(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F38(T, __VA_ARGS__)
#define PROA_M_E39(x, ...) PROA_M_VALUE(x), PROA_M_E38(__VA_ARGS__)
#define PROA_M_F40(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F39(T, __VA_ARGS__)
#define PROA_M_E40(x, ...) PROA_M_VALUE(x), PROA_M_E39(__VA_ARGS__)
#define PROA_M_F41(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F40(T, __VA_ARGS__)
#define PROA_M_E41(x, ...) PROA_M_VALUE(x), PROA_M_E40(__VA_ARGS__)
#define PROA_M_F42(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F41(T, __VA_ARGS__)
#define PROA_M_E42(x, ...) PROA_M_VALUE(x), PROA_M_E41(__VA_ARGS__)
#define PROA_M_F43(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F42(T, __VA_ARGS__)
#define PROA_M_E43(x, ...) PROA_M_VALUE(x), PROA_M_E42(__VA_ARGS__)
#define PROA_M_F44(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F43(T, __VA_ARGS__)
#define PROA_M_E44(x, ...) PROA_M_VALUE(x), PROA_M_E43(__VA_ARGS__)
#define PROA_M_F45(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F44(T, __VA_ARGS__)
#define PROA_M_E45(x, ...) PROA_M_VALUE(x), PROA_M_E44(__VA_ARGS__)
#define PROA_M_F46(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F45(T, __VA_ARGS__)
#define PROA_M_E46(x, ...) PROA_M_VALUE(x), PROA_M_E45(__VA_ARGS__)
#define PROA_M_F47(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F46(T, __VA_ARGS__)
#define PROA_M_E47(x, ...) PROA_M_VALUE(x), PROA_M_E46(__VA_ARGS__)
#define PROA_M_F48(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F47(T, __VA_ARGS__)
#define PROA_M_E48(x, ...) PROA_M_VALUE(x), PROA_M_E47(__VA_ARGS__)
#define PROA_M_F49(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F48(T, __VA_ARGS__)
#define PROA_M_E49(x, ...) PROA_M_VALUE(x), PROA_M_E48(__VA_ARGS__)
#define PROA_M_F50(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F49(T, __VA_ARGS__)
#define PROA_M_E50(x, ...) PROA_M_VALUE(x), PROA_M_E49(__VA_ARGS__)
#define PROA_M_F51(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F50(T, __VA_ARGS__)
#define PROA_M_E51(x, ...) PROA_M_VALUE(x), PROA_M_E50(__VA_ARGS__)
#define PROA_M_F52(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F51(T, __VA_ARGS__)
#define PROA_M_E52(x, ...) PROA_M_VALUE(x), PROA_M_E51(__VA_ARGS__)
#define PROA_M_F53(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F52(T, __VA_ARGS__)
#define PROA_M_E53(x, ...) PROA_M_VALUE(x), PROA_M_E52(__VA_ARGS__)
#define PROA_M_F54(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F53(T, __VA_ARGS__)
#define PROA_M_E54(x, ...) PROA_M_VALUE(x), PROA_M_E53(__VA_ARGS__)
#define PROA_M_F55(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F54(T, __VA_ARGS__)
#define PROA_M_E55(x, ...) PROA_M_VALUE(x), PROA_M_E54(__VA_ARGS__)
#define PROA_M_F56(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F55(T, __VA_ARGS__)
#define PROA_M_E56(x, ...) PROA_M_VALUE(x), PROA_M_E55(__VA_ARGS__)
#define PROA_M_F57(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F56(T, __VA_ARGS__)
#define PROA_M_E57(x, ...) PROA_M_VALUE(x), PROA_M_E56(__VA_ARGS__)
#define PROA_M_F58(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F57(T, __VA_ARGS__)
#define PROA_M_E58(x, ...) PROA_M_VALUE(x), PROA_M_E57(__VA_ARGS__)
#define PROA_M_F59(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F58(T, __VA_ARGS__)
#define PROA_M_E59(x, ...) PROA_M_VALUE(x), PROA_M_E58(__VA_ARGS__)
#define PROA_M_F60(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F59(T, __VA_ARGS__)
#define PROA_M_E60(x, ...) PROA_M_VALUE(x), PROA_M_E59(__VA_ARGS__)
#define PROA_M_F61(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F60(T, __VA_ARGS__)
#define PROA_M_E61(x, ...) PROA_M_VALUE(x), PROA_M_E60(__VA_ARGS__)
#define PROA_M_F62(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F61(T, __VA_ARGS__)
#define PROA_M_E62(x, ...) PROA_M_VALUE(x), PROA_M_E61(__VA_ARGS__)
#define PROA_M_F63(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F62(T, __VA_ARGS__)
#define PROA_M_E63(x, ...) PROA_M_VALUE(x), PROA_M_E62(__VA_ARGS__)
#define PROA_M_F64(T, x, ...) PROA_M_FIELD(T, x), PROA_M_F63(T, __VA_ARGS__)
#define PROA_M_E64(x, ...) PROA_M_VALUE(x), PROA_M_E63(__VA_ARGS__)

#endif
