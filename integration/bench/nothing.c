/* The floor of `start`, `delete`, `state`, `kill` and `list`: a start of a static C program that
 * does nothing. */
int main(void) { return 0; }
