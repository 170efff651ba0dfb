/* Makes one system call by an entry of x86: 64 (syscall), 32 (int 0x80), x32 (syscall with bit 30).
   Prints what the kernel gave back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char **words)
{
	long number, first, answer;

	if (count != 4)
		return 2;
	number = strtol(words[2], NULL, 0);
	first = strtol(words[3], NULL, 0);
	if (!strcmp(words[1], "32")) {
		__asm__ volatile("int $0x80" : "=a"(answer)
				 : "a"(number), "b"(first), "c"(0L), "d"(0L), "S"(0L), "D"(0L)
				 : "memory", "r8", "r9", "r10", "r11");
		answer = (int)answer;
	} else {
		if (!strcmp(words[1], "x32"))
			number |= 0x40000000;
		__asm__ volatile("syscall" : "=a"(answer)
				 : "a"(number), "D"(first), "S"(0L), "d"(0L)
				 : "memory", "rcx", "r8", "r9", "r10", "r11");
	}
	printf("%ld\n", answer);
	return 0;
}
