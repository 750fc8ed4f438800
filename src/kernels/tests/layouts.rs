//! Inputs that need no gradient, are not recorded, or do not lie in row-major order; gradients that come in so.

use super::*;

#[test]
fn an_input_that_needs_no_gradient_gets_none_and_the_others_stay_as_they_are() {
    let mut random = Random(21);
    for case in one_of_each(&mut random, Dropout::new(0.2, 1, 2, 3)) {
        let flex = Device::flex();
        let all = case.back(&case.fused, &flex);
        let inputs = case.inputs.len();
        for role in [Role::Frozen, Role::Constant] {
            for chosen in 0..1u32 << inputs {
                let roles: Vec<Role> = (0..inputs)
                    .map(|input| match chosen >> input & 1 {
                        0 => Role::Trained,
                        _ => role,
                    })
                    .collect();
                if !roles.contains(&Role::Trained) {
                    continue;
                }
                let found = case.back_to(&case.fused, &flex, &roles);
                assert_eq!(found.output, all.output, "{}", case.name);
                for input in 0..inputs {
                    let wanted = match roles[input] {
                        Role::Trained => all.gradients[input].as_ref(),
                        _ => None,
                    };
                    let found = found.gradients[input].as_ref();
                    assert_eq!(found, wanted, "{}, input {input}, {roles:?}", case.name);
                }
            }
        }
    }
}

#[test]
fn frozen_inputs_alone_give_an_output_without_a_gradient() {
    let mut random = Random(22);
    let recording = Device::flex().autodiff();
    for case in one_of_each(&mut random, Dropout::new(0.2, 1, 2, 3)) {
        let inputs: Vec<_> = case.inputs.iter().map(|x| x.on(&recording)).collect();
        let output = (case.fused)(&inputs);
        assert!(!output.is_tracked(), "{}", case.name);
        let wanted = case.forward(&case.fused, &Device::flex());
        assert_eq!(values(output.inner()), wanted, "{}", case.name);
    }
}

#[test]
fn transposed_inputs_work() {
    let mut random = Random(23);
    for case in one_of_each(&mut random, Dropout::new(0.2, 1, 2, 3)) {
        let inputs = case.inputs.iter();
        let inputs = inputs
            .map(|input| random.matrix(input.shape[1], input.shape[0]))
            .collect();
        let flow = case.flow.clone();
        case.through(inputs, flow, |_, input| input.transpose(), |output| output)
            .agrees();
    }
}

#[test]
fn inputs_cut_from_larger_ones_work() {
    let mut random = Random(24);
    for case in one_of_each(&mut random, Dropout::new(0.2, 1, 2, 3)) {
        let inputs = case.inputs.iter();
        let inputs = inputs
            .map(|input| random.matrix(input.shape[0] + 3, input.shape[1] + 2))
            .collect();
        let flow = case.flow.clone();
        let cut = |_, input: Tensor<2>| {
            let [rows, columns] = input.dims();
            input.narrow(0, 2, rows - 3).narrow(1, 1, columns - 2)
        };
        case.through(inputs, flow, cut, |output| output).agrees();
    }
}

#[test]
fn inputs_whose_rows_are_one_row_in_memory_work() {
    let mut random = Random(25);
    for case in one_of_each(&mut random, Dropout::new(0.2, 1, 2, 3)) {
        let shapes: Vec<_> = case.inputs.iter().map(|input| input.shape).collect();
        let inputs = shapes
            .iter()
            .map(|shape| random.matrix(1, shape[1]))
            .collect();
        let flow = case.flow.clone();
        let expand = move |index: usize, input: Tensor<2>| input.expand(shapes[index]);
        case.through(inputs, flow, expand, |output| output).agrees();
    }
}

#[test]
fn gradients_that_come_in_transposed_or_expanded_work() {
    let mut random = Random(26);
    for case in one_of_each(&mut random, Dropout::new(0.2, 1, 2, 3)) {
        let [rows, columns] = case.flow.shape;
        let inputs = case.inputs.clone();
        let flow = random.matrix(columns, rows);
        case.through(inputs, flow, |_, x| x, |output| output.transpose())
            .agrees();
    }
    for case in one_of_each(&mut random, Dropout::new(0.2, 1, 2, 3)) {
        let inputs = case.inputs.clone();
        let flow = random.matrix(case.flow.shape[0], 1);
        case.through(inputs, flow, |_, x| x, |output| output.sum_dim(1))
            .agrees();
    }
}

#[test]
fn one_tensor_as_several_inputs_gets_the_sum_of_their_gradients() {
    let mut random = Random(27);
    let drop = Dropout::new(0.2, 1, 2, 3);
    let spans = Spans::packed([3, 1, 17, 8]);
    let cases = [
        layer_norm_case(&mut random, 29, 33, drop),
        attention_case(&mut random, &spans, 3, 11, drop),
        linear_case(&mut random, 33, 33, 33),
    ];
    for case in cases {
        let alone = case.inputs.len();
        let twice = |form: Form| -> Form {
            Box::new(move |x: &[Tensor<2>]| {
                let mut inputs = x.to_vec();
                inputs[1] = x[0].clone();
                form(&inputs)
            })
        };
        let both = Case {
            name: format!("{} with one tensor twice", case.name),
            fused: twice(case.fused),
            composed: twice(case.composed),
            ..case
        };
        let mut roles = vec![Role::Trained; alone];
        roles[1] = Role::Constant;
        let flex = Device::flex();
        let found = both.back_to(&both.fused, &flex, &roles);
        both.compare(&found, &both.back_to(&both.composed, &flex, &roles));
    }
}

#[test]
fn an_operation_after_another_passes_its_gradient_on() {
    let mut random = Random(28);
    let spans = Spans::packed([9, 20]);
    let (drop, plain) = (Dropout::new(0.1, 1, 2, 3), Precision::Fp32);
    let block = |fused: bool| -> Form {
        let spans = spans.clone();
        Box::new(move |x| {
            let [hidden, weight] = [x[0].clone(), x[1].clone()];
            let (bias, norm) = (vector(&x[2]), norm_of(&x[3], &x[4]));
            if fused {
                let mixed = linear(hidden.clone(), weight, bias, plain);
                let inputs = [mixed.clone(), mixed.clone(), mixed];
                let mixed = attention(inputs, &spans, 4, drop, plain);
                dropout_add_layer_norm(gelu(mixed), hidden, norm, drop)
            } else {
                let mixed = super::super::linear::composed(hidden.clone(), weight, bias, plain);
                let inputs = [mixed.clone(), mixed.clone(), mixed];
                let ignored = &Distance::Ignored;
                let mixed =
                    super::super::attention::composed(inputs, ignored, &spans, 4, drop, plain);
                let mixed = super::super::gelu::composed(mixed);
                super::super::layer_norm::composed(mixed, hidden, norm, drop)
            }
        })
    };
    let mut weight = random.matrix(32, 32);
    weight.values.iter_mut().for_each(|x| *x *= 0.1);
    let case = Case {
        name: "a block of several operations".to_owned(),
        inputs: vec![
            random.matrix(29, 32),
            weight,
            random.matrix(1, 32),
            random.matrix(1, 32),
            random.matrix(1, 32),
        ],
        flow: random.matrix(29, 32),
        fused: block(true),
        composed: block(false),
    };
    case.agrees();
}
