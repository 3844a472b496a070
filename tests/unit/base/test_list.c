/* Intrusive lists. */
#include "unit.h"

#include <proa/list.h>

struct item {
    int number;
    struct proa_list node;
};

/* The numbers as decimal digits, read forwards; backwards must be their mirror. */
static void check(struct proa_list *head, long expected)
{
    long forwards = 0, backwards = 0, unit = 1;

    for (struct proa_list *node = head->next; node != head; node = node->next)
        forwards = forwards * 10 + PROA_CONTAINER(node, struct item, node)->number;
    for (struct proa_list *node = head->prev; node != head; node = node->prev) {
        backwards += unit * PROA_CONTAINER(node, struct item, node)->number;
        unit *= 10;
    }
    assert_int_equal(forwards, expected);
    assert_int_equal(backwards, expected);
    assert_int_equal(proa_list_empty(head), expected == 0);
}

static void test_push_remove_pop(void **state)
{
    struct item items[4] = {{.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};
    struct proa_list head;

    (void)state;
    proa_list_init(&head);
    check(&head, 0);
    assert_null(proa_list_pop_front(&head));
    proa_list_push_back(&head, &items[1].node);
    proa_list_push_back(&head, &items[2].node);
    proa_list_push_front(&head, &items[0].node);
    proa_list_push_back(&head, &items[3].node);
    check(&head, 1234);
    proa_list_remove(&items[2].node);
    check(&head, 124);
    proa_list_remove(&items[2].node); /* harmless */
    check(&head, 124);
    assert_ptr_equal(proa_list_pop_front(&head), &items[0].node);
    assert_ptr_equal(items[0].node.next, &items[0].node);
    check(&head, 24);
    proa_list_push_back(&items[1].node, &items[0].node); /* before an element */
    check(&head, 124);
    while (proa_list_pop_front(&head))
        ;
    check(&head, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_push_remove_pop)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
