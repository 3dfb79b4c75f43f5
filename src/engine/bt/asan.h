/* SPDX-License-Identifier: Apache-2.0 */
/* The names that `ld --wrap=__asan_handle_no_return` gives (asan.c). */
#pragma once

void __real___asan_handle_no_return(void);
void __wrap___asan_handle_no_return(void);
