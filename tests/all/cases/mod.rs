//! What went wrong on real inputs, by number: the index.
//!
//! A is the action, S the server, X what an attacker tried. One line here for each right value; the check itself
//! stands in the module of its subject. `cargo test --test all cases::s1` runs what belongs to S1.

mod action;
mod proxy;
mod receiver;

#[test]
fn a2_a_non_utf_8_ignore_file_is_an_error() {
    action::context::an_ignore_file_that_is_no_utf_8_is_an_error();
}

#[test]
fn a2_an_unreadable_ignore_file_is_an_error() {
    action::context::an_ignore_file_that_cannot_be_read_is_an_error();
    action::context::an_ignore_file_that_may_not_be_read_is_an_error();
}

#[test]
fn x6_a_link_to_the_jobs_environment_is_refused() {
    action::context::a_link_to_the_jobs_environment_is_refused();
}

#[test]
fn x6_what_leads_out_of_the_workspace_is_refused() {
    action::context::what_leads_out_of_the_workspace_is_refused();
}

#[test]
fn x6_links_inside_of_the_context_are_sent_as_links() {
    action::context::links_inside_of_the_context_are_sent_as_links();
}

#[test]
fn a10_a_nested_checkout_must_have_the_runs_commit() {
    action::context::a_checkout_below_the_workspace_must_have_the_runs_commit();
}

#[test]
fn a10_a_clone_is_found_from_the_context_upwards() {
    action::checkout::a_clone_is_found_from_the_context_upwards();
}

#[test]
fn a10_a_worktrees_head_counts_and_a_submodules_does_not() {
    action::checkout::a_worktree_has_a_head_of_its_own_and_a_submodule_has_none_that_counts();
}

#[test]
fn a10_another_repositorys_clone_counts_only_without_ours() {
    action::checkout::another_repositorys_clone_counts_only_where_there_is_none_of_ours();
}

#[test]
fn x6_a_file_replaced_by_a_pipe_does_not_block() {
    action::context::a_file_that_was_exchanged_for_a_pipe_is_not_waited_for();
}

// invariant builds: What is ignored is never copied, also the Dockerfile; broken by:
//   `crates/build-context/src/context/plan.rs`: the Dockerfile is kept whatever the ignore file says
#[tokio::test]
async fn a5_an_ignored_dockerfile_is_built_from_and_never_copied() {
    action::context::an_ignored_dockerfile_is_built_from_and_never_copied().await;
}

// invariant builds: What is ignored is never copied, also the Dockerfile; broken by:
//   `crates/build-context/src/context/plan.rs`: the Dockerfile's own ignore file is not read
#[tokio::test]
async fn a5_an_ignored_ignore_file_is_never_copied() {
    action::context::an_ignored_ignore_file_is_never_copied().await;
}

#[tokio::test]
async fn a5_a_dockerfile_outside_of_the_context_is_never_copied() {
    action::context::a_dockerfile_outside_of_the_context_is_never_copied().await;
}

#[test]
fn s1_an_image_with_a_volume_needs_one_configured() {
    receiver::volumes::an_image_with_a_volume_needs_a_line_in_the_app_file();
}

#[test]
fn s1_data_in_an_anonymous_volume_is_never_removed() {
    receiver::volumes::data_in_a_volume_without_a_name_are_never_removed();
}

#[test]
fn x8_only_what_the_release_workflow_built_runs() {
    action::supply::only_what_the_release_workflow_built_runs();
}

#[test]
fn x8_a_foreign_digest_stops_the_run() {
    action::supply::a_foreign_digest_stops_the_run();
}

#[test]
fn x8_the_release_workflow_verifies_before_it_runs() {
    action::supply::the_workflow_verifies_before_it_runs();
}

#[test]
fn s2_composes_variables_are_faults() {
    receiver::app_file::composes_variables_are_faults();
}

#[test]
fn s2_what_compose_would_change_never_passes_unnoticed() {
    receiver::app_file::what_compose_would_change_never_passes_unnoticed();
}

#[test]
fn s3_env_files_are_read_as_compose_reads_them() {
    receiver::env_files::are_read_as_compose_reads_them();
}

#[test]
fn s3_binary_env_files_are_reported_with_their_line() {
    receiver::env_files::that_are_binary_are_reported_with_their_line();
}

#[test]
fn s3_variables_of_both_files_reach_the_container() {
    receiver::app_file::what_an_env_file_and_the_app_file_say_reaches_the_container();
}

#[test]
fn s5_a_healthcheck_without_test_sets_the_images_own_times() {
    receiver::app_file::a_healthcheck_without_a_test_sets_the_times_of_the_images_own();
}

#[test]
fn s6_a_value_that_needs_quotes_is_reported() {
    receiver::app_file::a_value_that_needs_quotes_is_named_with_its_key();
}

#[test]
fn s18_many_unknown_keys_are_reported_briefly() {
    receiver::app_file::many_unknown_keys_are_reported_briefly();
}

#[test]
fn x9_pip_installs_only_files_of_known_hashes() {
    action::tools::pip_installs_only_files_of_known_hashes();
}

#[test]
fn a1_the_title_counts_whatever_follows_it() {
    action::versions::a_title_counts_whatever_follows_it();
}

#[test]
fn a3_versions_of_another_form_are_refused_before_the_build() {
    action::versions::versions_of_another_form_are_refused_before_the_build();
}

#[test]
fn a3_tags_that_stand_for_no_version_are_harmless() {
    action::versions::tags_that_stand_for_no_version_are_harmless();
}

#[test]
fn a4_a_prerelease_is_not_for_everybody() {
    action::versions::a_prerelease_is_not_for_everybody();
}

#[test]
fn a6_many_releases_cost_no_more_requests_than_few() {
    action::after_publishing::many_releases_cost_no_more_requests_than_few();
}

#[test]
fn a7_a_prefix_may_end_in_a_slash() {
    action::versions::a_prefix_may_end_in_a_slash();
}

#[test]
fn a9_a_renamed_repository_is_released() {
    action::after_publishing::a_renamed_repository_is_released();
}

#[test]
fn a12_a_permanently_refused_step_is_a_warning() {
    action::after_publishing::a_step_that_is_refused_for_good_is_a_warning();
}

#[test]
fn a12_what_a_further_run_can_do_fails_this_one() {
    action::after_publishing::what_a_further_run_can_do_fails_this_one();
}

#[test]
fn a12_a_text_at_githubs_limit_is_cut() {
    action::after_publishing::a_text_at_githubs_limit_is_cut();
}

#[test]
fn a_small_inputs_and_events_are_read_as_documented() {
    action::versions::inputs_and_events_are_read_as_documented();
}

#[test]
fn a_small_a_put_answered_with_200_succeeds() {
    action::versions::a_manifest_that_is_put_with_200_is_put();
}

#[test]
fn s1_an_adopted_anonymous_volume_keeps_its_data() {
    receiver::volumes::an_adopted_volume_without_a_name_is_taken_over_with_its_data();
}

#[test]
fn engines_an_image_for_another_architecture_is_refused() {
    receiver::engines::an_image_for_another_architecture_is_refused();
}

#[test]
fn engines_a_partly_described_image_is_deployed() {
    receiver::engines::an_image_that_the_engine_describes_in_part_is_deployed_by_its_labels();
}

#[tokio::test]
async fn podman_at_dockers_socket_is_refused_by_name() {
    receiver::podman::podman_is_refused_by_name().await;
}

macro_rules! traffic {
    ($($name:ident: $check:path;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                $check().await;
            }
        )*
    };
}

#[test]
fn a8_a_quoted_line_has_its_effect() {
    action::build::a_quoted_line_has_its_effect();
}

#[test]
fn a8_a_line_without_effect_is_an_input_error() {
    action::build::a_line_that_would_have_no_effect_is_an_input_error();
}

#[test]
fn a13_a_version_of_the_dockerfiles_own_stays() {
    action::build::a_version_of_the_dockerfiles_own_stays();
}

#[test]
fn a13_a_failure_says_which_version_was_given() {
    action::build::a_failure_says_which_version_was_given();
}

#[test]
fn a11_a_missing_frontend_is_named_by_its_line() {
    action::build::a_missing_frontend_is_named_by_its_line();
}

#[test]
fn a11_an_unknown_target_lists_the_stages() {
    action::build::a_target_that_is_no_stage_names_those_that_are();
}

#[test]
fn a11_a_dockerfile_relative_to_the_context_is_explained() {
    action::build::a_dockerfile_relative_to_the_context_is_explained();
}

#[test]
fn x9_misleading_characters_reach_neither_log_nor_summary() {
    action::build::what_misleads_a_reader_is_in_no_log_and_no_summary();
}

#[test]
fn x9_with_several_servers_a_fingerprint_needs_its_host() {
    action::build::with_several_servers_a_fingerprint_needs_its_host();
}

#[test]
fn x2_the_key_downgrades_only_if_the_app_file_allows() {
    receiver::policy::the_key_downgrades_only_where_the_app_file_says_so();
}

#[test]
fn x3_an_image_without_labels_proves_no_version() {
    receiver::policy::an_image_without_labels_proves_no_version();
}

#[test]
fn x3_jobs_fail_after_rolling_back_a_bogus_version() {
    receiver::policy::no_job_is_green_after_a_bogus_version_and_a_rollback();
}

#[test]
fn x4_the_key_brings_no_old_app_file_back() {
    receiver::policy::the_key_brings_no_old_app_file_back();
}

#[test]
fn x9_a_certificate_opens_no_door_to_the_keys_user() {
    receiver::policy::a_certificate_opens_no_door_to_the_keys_user();
}

traffic! {
    s12_a_get_keeps_its_body: proxy::answers::a_get_keeps_its_body;
    s13_stale_connections_lose_no_get: proxy::answers::stale_connections_lose_no_get;
    s13_only_what_may_be_repeated_is_sent_again: proxy::answers::only_what_may_be_repeated_is_sent_again;
    s14_an_early_answer_is_used: proxy::answers::an_early_answer_is_used;
    s15_a_route_has_its_own_patience: proxy::answers::a_route_has_its_own_patience;
    s16_early_hints_are_passed_on: proxy::answers::early_hints_are_passed_on;
    s16_odd_answers_are_distinguished: proxy::answers::odd_answers_are_distinguished;
    s17_refusals_leave_a_trace: proxy::answers::refusals_leave_a_trace;
    x1_open_uploads: proxy::bounds::open_uploads;
    x1_descriptors: proxy::bounds::descriptors;
    x1_slow_bodies: proxy::bounds::slow_bodies;
    x1_slow_heads: proxy::bounds::slow_heads;
    x1_crowds: proxy::bounds::crowds;
    x1_slow_reading: proxy::bounds::slow_reading;
    x1_slow_streams: proxy::bounds::slow_streams;
    x1_idle_http2: proxy::bounds::idle_http2;
    x1_each_client_behind_a_front_proxy: proxy::bounds::each_client_behind_a_front_proxy;
    x7_three_words_of_a_front_proxy_count: proxy::origin::three_words_of_a_front_proxy_count;
    x7_named_headers_count_too: proxy::origin::named_headers_count_too;
    x9_connection_takes_out_no_word_of_the_front: proxy::origin::connection_takes_out_no_word_of_the_front;
    x9_look_alikes_are_dropped: proxy::origin::look_alikes_are_dropped;
    x9_trailers_say_nothing_of_the_client: proxy::origin::trailers_say_nothing_of_the_client;
}

#[test]
fn s8_a_container_pruned_during_stop_first_is_recreated() {
    receiver::removed::what_was_pruned_during_a_failed_stop_first_is_made_again();
}

#[test]
fn s8_what_serves_is_made_again_when_somebody_removes_it() {
    receiver::removed::what_serves_is_made_again_when_somebody_removes_it();
}

#[test]
fn s8_the_hint_of_status_makes_it_again() {
    receiver::removed::the_hint_of_status_makes_it_again();
}

#[test]
fn s8_killed_at_each_step_of_making_it_again() {
    receiver::removed::killed_at_each_step_of_making_it_again();
}

#[test]
fn s11_an_unexpected_health_answer_is_reported_in_full() {
    receiver::own_probes::an_unexpected_health_answer_is_reported_in_full();
}

#[test]
fn s11_probes_send_the_configured_host_and_headers() {
    receiver::own_probes::health_and_smoke_ask_with_the_host_and_headers_that_are_set();
}

#[test]
fn s10_check_names_what_keeps_the_key_out() {
    receiver::sshd::check_names_what_keeps_the_key_out();
}

#[test]
fn s19_logs_of_a_driver_without_logs_are_explained() {
    receiver::logs::logs_of_a_driver_without_logs_are_explained();
}

#[test]
fn s9_the_applications_name_always_leads_to_what_serves() {
    receiver::names::the_applications_name_always_leads_to_what_serves();
}

#[test]
fn s9_a_name_taken_by_another_container_is_reported() {
    receiver::names::a_name_taken_by_another_container_is_reported();
}

#[test]
fn x5_a_failed_deployment_leaves_neither_image_nor_settings() {
    receiver::policy::a_failed_deployment_leaves_neither_image_nor_settings();
}

#[test]
fn x5_requests_that_go_wrong_are_limited_and_summed_up() {
    receiver::policy::requests_that_go_wrong_are_limited_and_summed_up();
}

#[test]
fn x5_a_silent_session_takes_a_slot_and_ends() {
    receiver::policy::a_session_that_says_nothing_takes_a_place_and_ends();
}

#[test]
fn x9_the_owners_variables_are_masked_for_the_key() {
    receiver::policy::the_owners_variables_are_masked_for_the_key();
}

#[test]
fn s4_tmpfs_and_volumes_have_their_options() {
    receiver::options::mounts_have_their_options();
}

#[test]
fn s7_adopt_takes_over_or_notes_everything() {
    receiver::options::what_a_running_container_has_is_taken_over_or_noted();
}

#[test]
fn x9_containers_are_bounded_by_default() {
    receiver::options::a_container_is_bounded_where_the_owner_says_nothing();
}

#[test]
fn keys_of_compose_reach_the_container() {
    receiver::options::every_key_reaches_the_container();
}

#[test]
fn keys_of_compose_are_explained() {
    receiver::options::what_a_key_does_not_take_is_explained();
}

#[test]
fn keys_an_empty_entrypoint_is_none() {
    receiver::options::an_empty_entrypoint_is_none();
}
